"""What is wrong with a rule whose types are right: said with its place in a policy file, and a hint. Pure."""

from collections.abc import Iterator
from typing import NamedTuple, assert_never

from controlplane.link.amounts import Misfit, misfits
from controlplane.link.globs import wrong_protected, wrong_scope
from controlplane.link.hooks import hook_misfits
from controlplane.link.reach import unreachable
from controlplane.link.rules import (
    DENIABLE,
    IRREVERSIBLE,
    LEAST_PSI_QUIET_NS,
    LEAST_QUIET_NS,
    MAX_ALLOWED_NS,
    MAX_BREAKER_ACTS,
    MAX_BREAKER_NS,
    MAX_GRACE_NS,
    MAX_LADDER,
    MAX_LEVEL,
    MAX_SPAN_NS,
    NS,
    OF_CGROUPS,
    WHOLE,
    Betting,
    Level,
    Poisson,
    Pressure,
    Rare,
    Rate,
    Rule,
    Step,
    Test,
    is_irreversible,
    is_learned,
)


class Fault(NamedTuple):
    """One thing wrong with a rule; `at` names the place in a policy file, `spec.ladder[0].for`."""

    at: str
    message: str
    hint: str = ""


def problems(rule: Rule) -> list[str]:
    """What is wrong with a rule whose types are right; empty when it may be put in force.

    Ask it again whenever a rule changes: a rule that may observe the node may not enforce on it.
    """
    return [f"{fault.at}: {fault.message}" for fault in faults(rule)]


def faults(rule: Rule) -> Iterator[Fault]:
    """The same as `problems`, with place and hint apart."""
    yield from _name_faults(rule)
    yield from _named_faults(rule)
    yield from _test_faults(rule.test)
    yield from _ladder_faults(rule)
    yield from _confirm_faults(rule)
    if not 0 <= rule.cooldown_ns <= MAX_SPAN_NS:
        yield Fault("spec.cooldown", "must be between 0s and 7d")
    yield from _quiet_faults(rule)
    yield from _breaker_faults(rule)


_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_SIGNAL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")
_ANOTHER = "another signal, of another cause"


def _name_faults(rule: Rule) -> Iterator[Fault]:
    if not 1 <= len(rule.name) <= 63 or not _NAME.issuperset(rule.name):
        yield Fault("metadata.name", "must be 1 to 63 of a-z, 0-9 and -")
    if not _is_signal(rule.signal):
        yield Fault("spec.signal", "is not the name of a signal")
    if len(rule.origin) > 4096 or not rule.origin.isprintable():
        yield Fault("origin", "must be at most 4096 printable characters")


def _is_signal(name: str) -> bool:
    return 1 <= len(name) <= 63 and _SIGNAL.issuperset(name)


def _named_faults(rule: Rule) -> Iterator[Fault]:
    found = (
        *wrong_scope(rule.scope.cgroups, rule.mode, node=rule.scope.node),
        *wrong_protected(rule.protect),
    )
    return (Fault(f"spec.{at}", message, hint) for at, message, hint in found)


def _quiet_faults(rule: Rule) -> Iterator[Fault]:
    at = "spec.quiet"
    if not LEAST_QUIET_NS <= rule.quiet_ns <= MAX_SPAN_NS:
        hint = "what is told once a second at most is quiet in between"
        yield Fault(at, "must be between 1s and 7d", hint)
    elif rule.signal.startswith("psi.") and rule.quiet_ns < LEAST_PSI_QUIET_NS:
        yield Fault(at, "must be at least 5s for pressure", "the kernel tells of it every 2 s while it lasts")


def _breaker_faults(rule: Rule) -> Iterator[Fault]:
    if rule.breaker is None:
        return
    at = "spec.breaker"
    if not is_irreversible(rule):
        yield Fault(at, "counts acts that cannot be undone, and the ladder has none", "leave `breaker` out")
    if not 1 <= rule.breaker.acts <= MAX_BREAKER_ACTS:
        yield Fault(f"{at}.acts", f"must be between 1 and {MAX_BREAKER_ACTS}")
    if not NS <= rule.breaker.within_ns <= MAX_BREAKER_NS:
        yield Fault(f"{at}.within", "must be between 1s and 1h", "write for example `within: 10m`")


def _budget_faults(allowed_ns: int) -> Iterator[Fault]:
    if not NS <= allowed_ns <= MAX_ALLOWED_NS:
        yield Fault("spec.test.false_alarms", "must be between one a second and one in ten years")


def _betting_faults(test: Betting) -> Iterator[Fault]:
    yield from _budget_faults(test.allowed_ns)
    if not 0 <= test.above <= MAX_LEVEL:
        yield Fault("spec.test.above", "must be below 2^63")


def _test_faults(test: Test) -> Iterator[Fault]:
    match test:
        case Rate() | Level():
            yield from _threshold_faults("spec.test", test)
        case Poisson(allowed_ns):
            yield from _budget_faults(allowed_ns)
        case Betting():
            yield from _betting_faults(test)
        case Rare(interval_ns, allowed_ns):
            yield from _budget_faults(allowed_ns)
            if not 1 <= interval_ns <= MAX_SPAN_NS:
                yield Fault("spec.test.above", "must be between 1/week and 1000000000/s")
        case Pressure(above):
            if not 1 <= above < WHOLE:
                yield Fault("spec.test.above", "must be above 0% and below 100%")
        case _:
            assert_never(test)


def _threshold_faults(at: str, test: Rate | Level) -> Iterator[Fault]:
    match test:
        case Rate(interval_ns, burst):
            if not 1 <= interval_ns <= MAX_SPAN_NS:
                yield Fault(f"{at}.above", "must be between 1/week and 1000000000/s")
            elif not 0 <= burst <= MAX_SPAN_NS // interval_ns:
                yield Fault(f"{at}.over", "must be at most 7d")
        case Level(above):
            if not 1 <= above <= MAX_LEVEL:
                yield Fault(f"{at}.above", "must be above zero and below 2^63")
        case _:
            assert_never(test)


def _confirm_faults(rule: Rule) -> Iterator[Fault]:
    confirm = rule.confirm
    if confirm is None:
        yield from _unconfirmed_faults(rule)
        return
    at = "spec.confirm"
    if not _is_signal(confirm.signal):
        yield Fault(f"{at}.signal", "is not the name of a signal")
    if confirm.signal == rule.signal:
        yield Fault(f"{at}.signal", "is what the policy tests already", f"name {_ANOTHER}")
    yield from _threshold_faults(at, confirm.test)
    if not 1 <= confirm.within_ns <= MAX_SPAN_NS:
        yield Fault(f"{at}.within", "must be above zero and at most 7d")


def _unconfirmed_faults(rule: Rule) -> Iterator[Fault]:
    if not is_learned(rule.test):
        return
    for index, step in enumerate(rule.ladder[:MAX_LADDER]):
        if step.act in IRREVERSIBLE:
            message = f"{step.act} cannot be undone, and a test that learns may err"
            hint = f"have it confirmed by {_ANOTHER}: `confirm: {{signal: psi.memory, above: 20%}}`"
            yield Fault(f"spec.ladder[{index}].act", message, hint)


def _ladder_faults(rule: Rule) -> Iterator[Fault]:
    if len(rule.ladder) > MAX_LADDER:
        yield Fault("spec.ladder", f"has more than {MAX_LADDER} steps")
    before_ns = 0
    for index, step in enumerate(rule.ladder[:MAX_LADDER]):
        at = f"spec.ladder[{index}]"
        yield from step_faults(at, step, process=rule.per == "process")
        if step.after_ns < before_ns:
            yield Fault(f"{at}.after", "comes before the step above it", "order the steps by `after`")
        before_ns = step.after_ns


def step_faults(at: str, step: Step, *, process: bool) -> Iterator[Fault]:
    """What is wrong with one step of which nothing but its types is known; `at` is its place."""
    yield from _step_faults(at, step)
    yield from _denial_faults(at, step)
    wrong = [*hook_misfits(step.act, step.hook)]
    if process and step.act in OF_CGROUPS:
        wrong.append(Misfit("act", f"{step.act} takes a whole cgroup", "write `per: cgroup`"))
    else:
        wrong += misfits(step.act, step.amounts, process=process)
    for key, message, hint in wrong:
        yield Fault(f"{at}.{key}" if key else at, message, hint)


def _denial_faults(at: str, step: Step) -> Iterator[Fault]:
    if step.act == "deny" and not step.what:
        yield Fault(at, "deny needs something to deny", f"write `what: {'`, `'.join(DENIABLE)}`")
    if step.what and step.act != "deny":
        yield Fault(f"{at}.what", f"{step.act} denies nothing", "leave `what` out")


def _step_faults(at: str, step: Step) -> Iterator[Fault]:
    for key, message, hint in unreachable(step.act, step.allow, step.interface):
        yield Fault(f"{at}.{key}", message, hint)
    if step.grace_ns and step.act != "kill":
        yield Fault(f"{at}.grace", f"{step.act} gives no grace", "leave `grace` out")
    if not 0 <= step.grace_ns <= MAX_GRACE_NS:
        yield Fault(f"{at}.grace", "must be at most 5m")
    if not 0 <= step.after_ns <= MAX_SPAN_NS:
        yield Fault(f"{at}.after", "must be between 0s and 7d")
    match step.act:
        case (
            "freeze"
            | "deny"
            | "reweigh"
            | "shape"
            | "quarantine"
            | ("limit-cpu" | "limit-memory" | "limit-pids" | "limit-io")
        ):
            if not 1 <= step.for_ns <= MAX_SPAN_NS:
                message = f"a {step.act} needs an end, at most 7d"
                yield Fault(f"{at}.for", message, "write for example `for: 10s`")
        case "hook":
            yield from _hook_span_faults(at, step)
        case "kill" | "observe" | "reclaim" | "evidence":
            if step.for_ns:
                yield Fault(f"{at}.for", f"{step.act} has nothing to undo", "leave `for` out")
        case _:
            assert_never(step.act)


def _hook_span_faults(at: str, step: Step) -> Iterator[Fault]:
    if step.hook is None or not step.hook.undo:
        if step.for_ns:
            yield Fault(f"{at}.for", "a hook without `undo` has nothing to undo", "leave `for` out")
    elif not 1 <= step.for_ns <= MAX_SPAN_NS:
        yield Fault(f"{at}.for", "a hook with `undo` needs an end, at most 7d", "write for example `for: 5m`")
