"""Policies into rules: checks what they mean, and turns units into the integers the arc executes.

Run as `python -m controlplane.policy.compile --out-fd N [--signals-fd M] [--no-defaults] DIR` it writes
a msgpack RuleSet to that descriptor; the arc does so on a reload, and never parses YAML itself.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, assert_never

import msgspec

from controlplane.link.config import Config
from controlplane.link.faults import Fault, faults
from controlplane.link.placing import misplaced
from controlplane.link.rules import (
    MAX_RULES,
    NS,
    Allowance,
    Betting,
    Confirm,
    Level,
    Poisson,
    Pressure,
    Rare,
    Rate,
    Rule,
    RuleSet,
    Step,
)
from controlplane.link.rules import Test as RuleTest
from controlplane.link.signal_table import read_signals
from controlplane.link.signals import BY_NAME, PAGES, Known, Signal
from controlplane.policy import node, units
from controlplane.policy.errors import PolicyError, UnitError, suggest
from controlplane.policy.load import PolicyDocument, policies_in, policies_of, policy_files
from controlplane.policy.model import (
    ConfirmSpec,
    LastingPressure,
    LearnedRate,
    LearnedValues,
    Policy,
    Quantity,
    RareEvents,
    StepSpec,
    Test,
    Threshold,
)
from controlplane.policy.steps import StepError, step_of

DEFAULTS: Final = Path(__file__).with_name("defaults")
DEFAULT_FOLDER: Final = Path(Config().policies)
BAD_POLICY: Final = 3
OVER_NS: Final = 100_000_000
PRESSURES: Final = "psi"
"""Sensor of the signals that are shares of time."""


class _FaultError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def rules_of(data: bytes, file: str, origin: str, known: Known = BY_NAME) -> list[Rule]:
    """The rules of one file's bytes. Raises PolicyError."""
    return compile_policies(policies_of(data, file), origin, known)


def compile_folder(folder: Path, known: Known = BY_NAME, *, defaults: bool = True) -> tuple[Rule, ...]:
    """The rules of a folder and, unless switched off, of the default table.

    A policy of the same name replaces a default one. The folder may be missing only where it is the
    default one. Raises PolicyError.
    """
    absent = folder == DEFAULT_FOLDER and not folder.exists()
    own = [] if absent else compile_policies(_read(policy_files(folder)), "", known)
    names = {rule.name for rule in own}
    table = compile_policies(_read(policy_files(DEFAULTS)), "default") if defaults else []
    rules = (*(rule for rule in table if rule.name not in names), *own)
    if len(rules) > MAX_RULES:
        raise PolicyError(f"{len(rules)} policies are more than the {MAX_RULES} allowed", "", str(folder))
    return rules


def compile_policies(
    policies: Sequence[PolicyDocument], origin: str, known: Known = BY_NAME, *, replayed: bool = False
) -> list[Rule]:
    """Rules of policies that are in force together. Without an origin, each bears its file's name.

    Raises PolicyError; `replayed` lets pass what is learned from recorded values only.
    """
    rules: list[Rule] = []
    seen: dict[str, str] = {}
    for entry in policies:
        document, name = entry.document, entry.policy.metadata.name
        place = f"{document.file}:{document.line('$.metadata.name')}"
        if name in seen:
            message = f"the name `{name}` is taken by {seen[name]}"
            raise document.error("$.metadata.name", message, "rename one of them")
        seen[name] = place
        rules.append(_located(entry, origin or document.file, known, replayed=replayed))
    return rules


def compile_policy(policy: Policy, origin: str, known: Known, *, replayed: bool) -> Rule:
    """One policy as a rule. Raises an error with a Fault, which `_compiled` gives its line."""
    spec = policy.spec
    signal = _signal("spec", spec.signal, known)
    if spec.per == "process" and not signal.process:
        message = f"the events of {signal.name} name no process"
        raise _FaultError(Fault("spec.per", message, "write `per: cgroup`"))
    if not spec.ladder:
        raise _FaultError(Fault("spec.ladder", "has no step", "write `- {act: observe}` to be told only"))
    rule = Rule(
        name=policy.metadata.name,
        signal=spec.signal,
        per=spec.per,
        scope=spec.scope,
        test=_test(spec.test, signal, replayed=replayed),
        confirm=_confirm(spec.confirm, known),
        ladder=tuple(_step(index, step) for index, step in enumerate(spec.ladder)),
        cooldown_ns=int(spec.cooldown),
        quiet_ns=int(spec.quiet),
        on_loss=spec.on_loss,
        protect=spec.protect,
        breaker=Allowance(spec.breaker.acts, int(spec.breaker.within)) if spec.breaker else None,
        where=spec.where,
        mode=spec.mode,
        origin=origin,
    )
    for fault in faults(rule):
        raise _FaultError(fault)
    if wrong := misplaced(rule):
        raise _FaultError(wrong)
    return rule


def _signal(at: str, name: str, known: Known) -> Signal:
    signal = known.get(name)
    if signal is None:
        raise _FaultError(Fault(f"{at}.signal", f"unknown signal `{name}`", suggest(name, known)))
    return signal


def _test(test: Test, signal: Signal, *, replayed: bool) -> RuleTest:
    match test:
        case Threshold():
            return _threshold("spec.test", test, signal)
        case LearnedRate(false_alarms=budget):
            _expect(signal, "count", "rate counts events", "histogram")
            return Poisson(allowed_ns=_allowed_ns(budget))
        case LearnedValues(false_alarms=budget, above=above):
            _expect(signal, "value", "histogram takes values", "rate")
            if signal.sensor == PRESSURES and not replayed:
                message = f"{signal.name} is told while it is high, and histogram takes all values"
                raise _FaultError(Fault("spec.test.kind", message, "write `kind: pressure`"))
            return Betting(allowed_ns=_allowed_ns(budget), above=_above(above, signal) if above else 0)
        case RareEvents(false_alarms=budget, above=above):
            _expect(signal, "count", "rare counts events", "histogram")
            interval_ns = round(NS / _above_per_s(above, signal))
            return Rare(interval_ns=interval_ns, allowed_ns=_allowed_ns(budget))
        case LastingPressure(above=above):
            if signal.sensor != PRESSURES:
                message = f"pressure takes psi.memory, psi.cpu or psi.io, and not {signal.name}"
                raise _FaultError(Fault("spec.test.kind", message, "write `kind: threshold`"))
            return Pressure(above=_above(above, signal))
        case _:
            assert_never(test)


def _expect(signal: Signal, kind: str, what: str, instead: str) -> None:
    if signal.kind != kind:
        message = f"{what}, and {signal.name} {_what(signal)}"
        raise _FaultError(Fault("spec.test.kind", message, f"write `kind: {instead}`"))


def _what(signal: Signal) -> str:
    if signal.unit == PAGES:
        return "counts pages of memory"
    return "counts events" if signal.kind == "count" else f"is measured in {signal.unit}"


def _allowed_ns(budget: Quantity) -> int:
    try:
        return round(NS / units.rate_per_s(budget))
    except UnitError as error:
        raise _FaultError(Fault("spec.test.false_alarms", str(error), "write for example 1/day")) from None


def _confirm(confirm: ConfirmSpec | None, known: Known) -> Confirm | None:
    if confirm is None:
        return None
    signal = _signal("spec.confirm", confirm.signal, known)
    test = _threshold("spec.confirm", confirm, signal)
    return Confirm(signal=signal.name, test=test, within_ns=int(confirm.within))


def _above(text: Quantity, signal: Signal, at: str = "spec.test") -> int:
    try:
        return units.value(text, signal.unit)
    except UnitError as error:
        raise _misfit(at, error, signal) from None


def _above_per_s(text: Quantity, signal: Signal, at: str = "spec.test") -> Fraction:
    try:
        if signal.unit == PAGES:
            return units.memory_per_s(text, node.MEMORY) / node.PAGE
        return units.rate_per_s(text)
    except UnitError as error:
        raise _misfit(at, error, signal) from None


def _misfit(at: str, error: UnitError, signal: Signal) -> _FaultError:
    return _FaultError(Fault(f"{at}.above", f"{error}, and {signal.name} {_what(signal)}", error.hint))


def _threshold(at: str, test: Threshold | ConfirmSpec, signal: Signal) -> Rate | Level:
    if signal.kind == "count":
        over_ns = OVER_NS if test.over is None else test.over
        return _rate(_above_per_s(test.above, signal, at), over_ns)
    above = _above(test.above, signal, at)
    if test.over is not None:
        message = f"{signal.name} is tested value by value"
        raise _FaultError(Fault(f"{at}.over", message, "leave `over` out"))
    return Level(above=above)


def _rate(per_s: Fraction, over_ns: int) -> Rate:
    """Over no time at all, the first event is one too many."""
    return Rate(interval_ns=round(NS / per_s), burst=max(1, int(per_s * over_ns / NS)) if over_ns else 0)


def _step(index: int, spec: StepSpec) -> Step:
    try:
        return step_of(spec)
    except StepError as error:
        raise _FaultError(Fault(f"spec.ladder[{index}].{error.key}", str(error), error.hint)) from None


def _read(files: Iterable[Path]) -> list[PolicyDocument]:
    return [found for file in files for found in policies_in(file)]


def _located(entry: PolicyDocument, origin: str, known: Known, *, replayed: bool) -> Rule:
    try:
        rule = compile_policy(entry.policy, origin, known, replayed=replayed)
        if not entry.programs and not replayed:
            _refuse_programs(rule)
    except _FaultError as error:
        fault = error.fault
        message = f"{fault.at}: {fault.message}"
        raise entry.document.error(f"$.{fault.at}", message, fault.hint) from None
    return rule


def _refuse_programs(rule: Rule) -> None:
    for index, step in enumerate(rule.ladder):
        if step.hook is not None:
            message = "names a program, which only a policy file may that is root's alone to write"
            hint = "put it into policies.d, owned by root and mode 0644"
            raise _FaultError(Fault(f"spec.ladder[{index}].run", message, hint))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the RuleSet of a folder to a descriptor; 0, or 3 with the reason in its `error`."""
    parser = argparse.ArgumentParser(prog="controlplane.policy.compile", description=__doc__)
    parser.add_argument("--out-fd", type=int, required=True, metavar="N")
    parser.add_argument("--signals-fd", type=int, default=-1, metavar="N", help="the user's own signals")
    parser.add_argument("--no-defaults", action="store_true")
    parser.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    from controlplane.link.capabilities import Capability, keep_only

    keep_only({Capability.DAC_READ_SEARCH})
    try:
        known = read_signals(options.signals_fd)
        rules = RuleSet(rules=compile_folder(options.folder, known, defaults=not options.no_defaults))
    except PolicyError as error:
        rules = RuleSet(error=str(error))
    with os.fdopen(options.out_fd, "wb") as out:
        out.write(msgspec.msgpack.encode(rules))
    return BAD_POLICY if rules.error else 0


if __name__ == "__main__":
    sys.exit(main())
