"""The engine, with what the kernel did by itself: told, confirmed and taken back like any step of our own.

The kernel acts first and is journalled afterwards. So it does only what a crash in between cannot leave
behind: a denial, which ends with this process, and a kill, which leaves nothing.
"""

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from controlplane.arc.kernel.events import Event, Outcome, StandingKey
from controlplane.arc.monitor.streams import NOBODY, Place
from controlplane.arc.monitor.tests import Test
from controlplane.arc.reflex.agenda import QUIET, STEP
from controlplane.arc.reflex.denying import must_change
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.plans import Plan, Rung
from controlplane.arc.reflex.telling import Evidence, Reflex, must_intent, must_outcome, must_victim
from controlplane.link.config import Mode
from controlplane.link.records import Change, Guard, Intent
from controlplane.link.rules import Betting, Rate, Rule

GUARDS: Final[Mapping[int, Guard]] = {
    Outcome.PROTECTED: "protected",
    Outcome.BREAKER: "breaker",
    Outcome.BUDGET: "budget",
}
"""What forbade it in the kernel."""


class KernelTest:
    """What a test in the kernel had when it fired. See `Test`."""

    __slots__ = ("fired_ns", "key", "kind", "quiet_until_ns", "statistic", "threshold")

    def __init__(self, rule: Rule, event: Event, quiet_until_ns: int) -> None:
        match rule.test:
            case Rate(burst=burst):
                self.kind, self.statistic, self.threshold = "rate", float(event.statistic), float(burst)
            case Betting():
                self.kind, self.statistic, self.threshold = "histogram", event.statistic / 64, 0.0
            case test:
                self.kind, self.statistic = "level", float(event.value)
                self.threshold = float(getattr(test, "above", 0))
        process = (event.start_ns, event.pid) if rule.per == "process" else (0, 0)
        self.key = StandingKey(event.cgroup, *process, event.slot)
        """By which the kernel knows how the policy stands to the victim."""
        self.quiet_until_ns = quiet_until_ns
        self.fired_ns = event.time_ns

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """It runs in the kernel."""
        return False


class Taken(NamedTuple):
    """What the kernel did: EVENT_ACTED of bpf/events.h."""

    decided_ns: int
    acted_ns: int
    outcome: int


class TakingUp(Engine):
    """All reflexes, those of the kernel among them."""

    in_kernel: Container[str] = frozenset()
    """Rules that the kernel carries out: what is told of their signals is not ours to act upon."""
    resting: Mapping[str, str] = MappingProxyType({})
    """Those of them that it cannot carry out on this machine, and why."""
    last_fired: Callable[[StandingKey], int]
    """When a policy last fired in the kernel against a victim, 0 where that is forgotten."""
    rest_until: Callable[[StandingKey, int], None]
    """From when on it may act upon that victim again."""

    def must_begin(
        self, place: Place, who: Place, culprit: Place, rule: Rule, test: Test, event: Event
    ) -> None:
        """See `Engine`."""
        if rule.name not in self.in_kernel:
            super().must_begin(place, who, culprit, rule, test, event)

    def take_up(self, place: Place, plan: Plan, told: Event) -> None:
        """A policy has fired in the kernel."""
        taken = Taken(told.culprit, told.since_ns, told.weight)
        event = told._replace(culprit=0, weight=1)
        rule = plan.rule
        mode: Mode = "observe" if taken.outcome == Outcome.OBSERVED else "enforce"
        test = KernelTest(rule, event, event.time_ns + plan.rest_ns)
        evidence = Evidence(place, place, NOBODY, test, event, mode)
        names = self._identities.must_trace(), self._identities.must_span()
        reflex = Reflex(
            rule, must_victim(place, rule, event), evidence, *names, event.time_ns, taken.decided_ns
        )
        self.tallies.must_tell(reflex)
        rung = plan.at_once[0]
        guard = GUARDS.get(taken.outcome)
        if guard is None:
            self._take_up_step(reflex, rung, taken, mode)
        else:
            self._forbidden(reflex, rung, guard)
        for later in plan.later:
            self._agenda.must_add(event.time_ns + later.step.after_ns, STEP, reflex, later)
        if plan.quiet_ns:
            self._agenda.must_add(event.time_ns + plan.quiet_ns, QUIET, reflex)

    def _calm(self, reflex: Reflex, now_ns: int) -> None:
        """The kernel has told nothing since it acted: it is asked when its test last fired."""
        test = reflex.test
        if isinstance(test, KernelTest):
            test.fired_ns = max(test.fired_ns, self.last_fired(test.key))
        super()._calm(reflex, now_ns)
        if isinstance(test, KernelTest) and reflex.ended:
            self.rest_until(test.key, test.quiet_until_ns)

    def _take_up_step(self, reflex: Reflex, rung: Rung, taken: Taken, mode: Mode) -> None:
        act = rung.act
        intent = self._intent(reflex, rung, taken, mode)
        if mode == "observe":
            self._journal.must_append(intent)
            self.tallies.must_tally(act.name, "observed")
            return
        if not act.irreversible and self.holdings.full:
            act.undo(reflex.victim, intent.changes)
            self._forbidden(reflex, rung, "budget")
            return
        failed = taken.outcome == Outcome.FAILED
        self._journal.must_append(intent)
        self._journal.must_append(
            must_outcome(reflex, intent, taken.acted_ns, "the kernel refused" if failed else "")
        )
        self.tallies.must_tally(act.name, "failed" if failed else "done")
        if failed:
            return
        self.latency.must_observe(taken.acted_ns - reflex.event_ns, reflex.trace_id, taken.acted_ns)
        if act.irreversible and not self.breaker.must_allow(reflex.rule.name, reflex.event_ns):
            self._set_modes()
        self._must_follow(reflex, rung, intent)

    def _intent(self, reflex: Reflex, rung: Rung, taken: Taken, mode: Mode) -> Intent:
        changes: tuple[Change, ...] = ()
        if rung.step.act == "deny" and mode == "enforce":
            changes = self.holdings.must_changes(reflex.victim, (must_change(rung.step),))
        span = self._identities.must_span()
        intent = must_intent(reflex, rung.number, rung.step, mode, changes, span)
        return msgspec.structs.replace(intent, time_ns=taken.decided_ns)

    def _forbidden(self, reflex: Reflex, rung: Rung, guard: Guard) -> None:
        self.tallies.must_refuse(reflex, rung.act, guard)
        if guard == "breaker":
            self.breaker.must_open(reflex.rule.name)
            self._set_modes()
