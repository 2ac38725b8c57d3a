"""An act that a person asks for: guards, journal and undo of a reflex, without a test before it."""

import time
from typing import Final, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import NOBODY
from controlplane.arc.monitor.tests import RateTest
from controlplane.arc.reflex.acts import AbsentError
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.plans import Acts, Rung, then
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.telling import Evidence, Reflex
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change, Guard
from controlplane.link.rules import BY_HAND, Rate, Rule, Scope, Step

NO_EVENT: Final = Event._make((*(0,) * (len(Event._fields) - 1), b""))


class Trace(NamedTuple):
    """What it goes on with: the span of whoever asks is its parent."""

    trace_id: bytes
    span_id: bytes
    flags: int


class Preview(NamedTuple):
    """What an act would write, or which guard forbids it."""

    changes: tuple[Change, ...] = ()
    guard: Guard | None = None
    detail: str = ""


class ByHand:
    """Acts outside any policy. The mode is one of policies: a person is not bound by it."""

    def __init__(self, acts: Acts, protection: Protection, engine: Engine) -> None:
        self._acts = acts
        self._protection = protection
        self._engine = engine

    def preview(self, victim: Victim, step: Step) -> Preview:
        """Ask every guard, open the victim and let go of it: nothing is written, counted or told."""
        act = self._acts.get((step.act, bool(victim.pid)))
        if act is None:
            return Preview(guard="absent", detail=f"{step.act} cannot be done here")
        if protected := self._protection.must_forbid(victim, rule_of(victim, step)):
            return Preview(guard="protected", detail=protected)
        if act.irreversible and not self._engine.breaker.allows(BY_HAND, time.monotonic_ns()):
            return Preview(guard="breaker")
        if self._engine.holdings.full and not act.irreversible:
            return Preview(guard="budget")
        try:
            # With grace, as the end of what was opened to be killed is seen to.
            opened = act.must_open(victim, gentle(step) if act.irreversible else step)
        except AbsentError as absent:
            return Preview(guard="absent", detail=absent.detail)
        except OSError:
            return Preview(guard="gone")
        act.must_release(opened)
        return Preview(self._engine.holdings.must_changes(victim, opened.changes))

    def act(self, victim: Victim, step: Step, actor: str, trace: Trace) -> None:
        """Take the one step of a reflex in this trace."""
        now = time.monotonic_ns()
        rule = rule_of(victim, step)
        evidence = Evidence(NOBODY, NOBODY, NOBODY, RateTest(Rate(1, 1)), NO_EVENT, "enforce")
        reflex = Reflex(rule, victim, evidence, trace.trace_id, trace.span_id, now, now)
        reflex.trace_flags = trace.flags
        # There is no finding to tell, and no event that the act was late for.
        reflex.evidence = None
        reflex.late = True
        reflex.actor = actor
        act = self._acts[step.act, bool(victim.pid)]
        self._engine.take(reflex, Rung(0, step, act, then=then(0, step, act)))


def gentle(step: Step) -> Step:
    """The same with grace."""
    return Step(step.act, grace_ns=max(1, step.grace_ns), amounts=step.amounts)


def rule_of(victim: Victim, step: Step) -> Rule:
    """What it would be as a policy. Its scope names the victim, as the person did."""
    return Rule(
        name=BY_HAND,
        signal=BY_HAND,
        per="process" if victim.pid else "cgroup",
        scope=Scope(cgroups=(victim.path,)),
        test=Rate(1, 1),
        ladder=(step,),
        on_loss="open",
        mode="enforce",
    )
