"""Compiled policies: what the arc executes. Integers, nanoseconds and names only; no YAML, no units.

`controlplane.policy` compiles into these; a rule that arrives over the link is validated again as if
hostile, by `msgspec` for types and by `problems()` for meaning.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, assert_never, get_args

import msgspec

from controlplane.link.amounts import Amount, misfits
from controlplane.link.config import Config, Mode
from controlplane.link.globs import Wrong, wrong_protected, wrong_scope
from controlplane.link.reach import Network, unreachable
from controlplane.link.user_sensors import UserSensor

NS = 1_000_000_000
MAX_RULES = 256
MAX_LADDER = 8
MAX_SPAN_NS = 7 * 24 * 3600 * NS
"""Longest `for`, `after`, cooldown and rate window: beyond a week it is a typing error."""
MAX_GRACE_NS = 300 * NS
LEAST_QUIET_NS = NS
LEAST_PSI_QUIET_NS = 5 * NS
"""Pressure that goes on is told every 2 s."""
LOSS_NS = 10 * NS
MAX_LEVEL = 2**63 - 1
MAX_EVENTS = 10**15
"""Tests between false alarms at most: some 50 bits, within what 32-bit statistics hold."""
MAX_ALLOWED_NS = 10 * 365 * 24 * 3600 * NS
"""Time per false alarm at most, ten years; at least it is a second."""
WHOLE = 10_000
"""Hundredths of a percent that a share may come to."""

ActName = Literal[
    "observe",
    "reweigh",
    "limit-cpu",
    "limit-memory",
    "limit-pids",
    "limit-io",
    "shape",
    "quarantine",
    "deny",
    "freeze",
    "kill",
]
IRREVERSIBLE: frozenset[str] = frozenset({"kill"})
OF_CGROUPS: frozenset[str] = frozenset(
    {"limit-cpu", "limit-memory", "limit-pids", "limit-io", "shape", "quarantine", "deny"}
)
Deniable = Literal["fork", "exec", "connect"]
DENIABLE: tuple[Deniable, ...] = get_args(Deniable)


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rate"):
    """More than `burst` events beyond a steady `1e9 / interval_ns` per second (GCRA)."""

    interval_ns: int
    burst: int


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="level"):
    """A value above `above`, in the signal's own unit."""

    above: int


class Poisson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="poisson"):
    """Events come faster than they used to."""

    allowed_ns: int
    """Time per alarm over all streams of the rule while nothing changes; so in all tests that have it."""


class Betting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="betting"):
    """Values moved up against the stream's own past. The kernel itself bets, and tells of what it wins."""

    allowed_ns: int
    above: int = 0
    """Values up to it, in the signal's own unit, are no evidence."""


class Rare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rare"):
    """Events come oftener than once in `interval_ns`, each by itself (exact Poisson)."""

    interval_ns: int
    allowed_ns: int


class Pressure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="pressure"):
    """A share above `above` now and over the last minute, and not falling; in hundredths of a percent."""

    above: int


Test = Rate | Level | Poisson | Betting | Rare | Pressure


def allowance_ns(test: Test) -> int:
    """Time per alarm that means nothing; 0 where the test states none."""
    return test.allowed_ns if isinstance(test, Poisson | Betting | Rare) else 0


def is_learned(test: Test) -> bool:
    """What is usual is learned from the stream, so the test has a chance of false alarm."""
    return not isinstance(test, Rate | Level | Pressure)


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second signal that must be in trouble, too, before an act that cannot be undone."""

    signal: str
    test: Rate | Level
    within_ns: int = 10 * NS
    """How long it counts after its threshold was last exceeded."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act of a ladder."""

    act: ActName
    after_ns: int = 0
    """Delay since the finding."""
    for_ns: int = 0
    """Time in force before it is undone; 0: until undone by hand. Irreversible acts have none."""
    grace_ns: int = 0
    """Between SIGTERM and SIGKILL; 0: SIGKILL at once."""
    amounts: tuple[Amount, ...] = ()
    """What it sets, all of it or nothing."""
    allow: tuple[Network, ...] = ()
    """Whom a quarantined cgroup may still talk to."""
    interface: str = ""
    """Which one is shaped, in the victim's own network; empty: what the cgroup itself sends and receives."""
    what: Literal["", Deniable] = ""
    """What a deny denies."""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cgroups a rule may see and touch: `node` all of them, else those a glob names."""

    node: bool = False
    cgroups: tuple[str, ...] = ()


def is_empty(scope: Scope) -> bool:
    """Nothing was written: such a rule sees the whole node and may touch none of it."""
    return not scope.node and not scope.cgroups


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One compiled policy."""

    name: str
    signal: str
    per: Literal["cgroup", "process"] = "cgroup"
    scope: Scope = Scope()
    test: Test
    confirm: Confirm | None = None
    ladder: tuple[Step, ...] = ()
    cooldown_ns: int = 60 * NS
    quiet_ns: int = 30 * NS
    """After so much quiet of the signal, what is in force is taken back, and no further step follows."""
    on_loss: Literal["closed", "open"] | None = None
    """Whether to act while events of its sensors are lost; unset, only what can be undone is done."""
    protect: tuple[str, ...] = ()
    """Programs by name, and cgroups by globs with all below them, that it must not touch."""
    mode: Mode = "observe"
    origin: str = "api"
    """`default`, `api`, or the file it was read from."""


def window_ns(test: Test) -> int:
    """How far back what is lost may matter: the time over which a rate is taken, but at least 10 s."""
    return max(LOSS_NS, test.burst * test.interval_ns) if isinstance(test, Rate) else LOSS_NS


def signals_of(rule: Rule) -> tuple[str, ...]:
    """What must be felt for it: the signal it tests, then the one that confirms."""
    return (rule.signal,) if rule.confirm is None else (rule.signal, rule.confirm.signal)


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules in force after a load, or why the load was refused."""

    rules: tuple[Rule, ...] = ()
    error: str = ""


class Boot(msgspec.Struct, frozen=True):
    """What the launcher hands to the arc, as msgpack in a memory file."""

    config: Config
    rules: RuleSet
    sensors: tuple[UserSensor, ...] = ()


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
    yield from _below_spec(wrong_scope(rule.scope.cgroups, rule.mode, node=rule.scope.node))
    yield from _below_spec(wrong_protected(rule.protect))


def _below_spec(found: Iterable[Wrong]) -> Iterator[Fault]:
    return (Fault(f"spec.{at}", message, hint) for at, message, hint in found)


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


def _quiet_faults(rule: Rule) -> Iterator[Fault]:
    at = "spec.quiet"
    if not LEAST_QUIET_NS <= rule.quiet_ns <= MAX_SPAN_NS:
        hint = "what is told once a second at most is quiet in between"
        yield Fault(at, "must be between 1s and 7d", hint)
    elif rule.signal.startswith("psi.") and rule.quiet_ns < LEAST_PSI_QUIET_NS:
        yield Fault(at, "must be at least 5s for pressure", "the kernel tells of it every 2 s while it lasts")


def _ladder_faults(rule: Rule) -> Iterator[Fault]:
    if len(rule.ladder) > MAX_LADDER:
        yield Fault("spec.ladder", f"has more than {MAX_LADDER} steps")
    before_ns = 0
    for index, step in enumerate(rule.ladder[:MAX_LADDER]):
        at = f"spec.ladder[{index}]"
        yield from _step_faults(at, step)
        yield from _denial_faults(at, step)
        if rule.per == "process" and step.act in OF_CGROUPS:
            yield Fault(f"{at}.act", f"{step.act} takes a whole cgroup", "write `per: cgroup`")
        else:
            yield from _amount_faults(at, step, process=rule.per == "process")
        if step.after_ns < before_ns:
            yield Fault(f"{at}.after", "comes before the step above it", "order the steps by `after`")
        before_ns = step.after_ns


def _amount_faults(at: str, step: Step, *, process: bool) -> Iterator[Fault]:
    for key, message, hint in misfits(step.act, step.amounts, process=process):
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
        case "kill" | "observe":
            if step.for_ns:
                yield Fault(f"{at}.for", f"{step.act} has nothing to undo", "leave `for` out")
        case _:
            assert_never(step.act)
