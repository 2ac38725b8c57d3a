"""Rules as the hot path wants them: acts looked up, times added up, steps sorted by when they are due."""

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.arc.reflex.acts import Act
from controlplane.link.rules import Rule, Step

SHORTEST_QUIET_NS = 20_000_000
"""Records of the same storm may still be in the ring when its victim is dealt with."""

Acts = Mapping[tuple[str, bool], Act]
"""By name and whether the victim is one process."""


class Rung(NamedTuple):
    """One step of a ladder with its act."""

    number: int
    step: Step
    act: Act


class Plan(NamedTuple):
    """One rule, ready to run."""

    rule: Rule
    quiet_ns: int
    """One reflex against a victim at a time: its cooldown, or longer while its ladder lasts."""
    at_once: tuple[Rung, ...]
    later: tuple[Rung, ...]


def plan_for(rule: Rule, acts: Acts) -> Plan:
    """Steps whose act does nothing, or cannot be done here, are left out."""
    rungs = [
        Rung(number, step, act)
        for number, step in enumerate(rule.ladder)
        if (act := acts.get((step.act, rule.per == "process"))) is not None
    ]
    lasts = [step.after_ns + step.for_ns for step in rule.ladder]
    return Plan(
        rule=rule,
        quiet_ns=max(SHORTEST_QUIET_NS, rule.cooldown_ns, *lasts),
        at_once=tuple(rung for rung in rungs if rung.step.after_ns == 0),
        later=tuple(rung for rung in rungs if rung.step.after_ns > 0),
    )
