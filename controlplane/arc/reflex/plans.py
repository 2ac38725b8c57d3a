"""Rules as the hot path wants them: acts looked up, times added up, steps sorted by when they are due."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from controlplane.arc.reflex.acts import Act
from controlplane.link.rules import Rule, Step, is_learned

SHORTEST_REST_NS = 20_000_000
"""Records of the same storm may still be in the ring when its victim is dealt with."""

Acts = Mapping[tuple[str, bool], Act]
"""By name and whether the victim is one process."""


class Rung(NamedTuple):
    """One step of a ladder with its act."""

    number: int
    step: Step
    act: Act
    doubts: tuple[str, ...] = ()
    """Where it cannot be undone and more than a finding is needed: what to say, by what is missing."""
    then: "Rung | None" = None
    """What follows when the step's grace is over and the victim is still there."""
    allowed: bool = False
    """It is the second half of a step that the breaker has counted."""


class Plan(NamedTuple):
    """One rule, ready to run."""

    rule: Rule
    rest_ns: int
    """One reflex against a victim at a time: its cooldown, or longer while its ladder lasts."""
    quiet_ns: int
    """How long the signal must be quiet for what lasts to be taken back; 0: nothing would last that long."""
    at_once: tuple[Rung, ...]
    later: tuple[Rung, ...]


def plan_for(rule: Rule, acts: Acts) -> Plan:
    """Steps whose act does nothing, or cannot be done here, are left out."""
    rungs = [
        Rung(number, step, act, doubts_of(rule) if act.irreversible else (), then(number, step, act))
        for number, step in enumerate(rule.ladder)
        if (act := acts.get((step.act, rule.per == "process"))) is not None
    ]
    lasts = [step.after_ns + step.for_ns + step.grace_ns for step in rule.ladder]
    return Plan(
        rule=rule,
        rest_ns=max(SHORTEST_REST_NS, rule.cooldown_ns, *lasts),
        quiet_ns=rule.quiet_ns if any(_outlasts(step, rule.quiet_ns) for step in rule.ladder) else 0,
        at_once=tuple(rung for rung in rungs if rung.step.after_ns == 0),
        later=tuple(rung for rung in rungs if rung.step.after_ns > 0),
    )


def then(number: int, step: Step, act: Act) -> Rung | None:
    """What follows when a step's grace is over; None where it has none."""
    if not step.grace_ns:
        return None
    last = msgspec.structs.replace(step, after_ns=step.after_ns + step.grace_ns, grace_ns=0)
    return Rung(number, last, act, allowed=True)


def _outlasts(step: Step, quiet_ns: int) -> bool:
    """Whether a step would still be to come, or what it set be there, after so much quiet."""
    return step.after_ns > quiet_ns or (step.act != "freeze" and step.after_ns + step.for_ns > quiet_ns)


def must_hush(act: str, signal: str) -> bool:
    """Whether a victim is quiet while the act is in force, whatever it would do without."""
    return act == "freeze" or (act == "limit-memory" and signal == "memory.growth")


def doubts_of(rule: Rule) -> tuple[str, ...]:
    """In words, by what `guards.Confirmation` misses; none where it misses nothing."""
    if rule.confirm is None and not is_learned(rule.test):
        return ()
    unsure = "the finding is not yet a thousand times as sure"
    at_rest = f"{rule.confirm.signal} does not confirm it" if rule.confirm else "nothing may confirm it"
    return "", unsure, at_rest, f"{unsure}, and {at_rest}"
