"""The ladder at work: a finding starts a reflex, steps are guarded, journalled, done, confirmed, undone.

Owns what is due. Waits for nothing: the loop calls `must_begin` for a finding, `must_confirm` for the
kernel's confirmations and `run_due` when the time has come.
"""

import contextlib
import heapq
import time
from collections.abc import Callable, Container, Mapping
from typing import Final, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import Place
from controlplane.arc.monitor.tests import Test
from controlplane.arc.reflex.acts import Act, Effect
from controlplane.arc.reflex.guards import Breaker, Cooldowns, Protection
from controlplane.arc.reflex.holdings import Holdings, InForce
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.latency import LatencyHistogram
from controlplane.arc.reflex.telling import (
    Reflex,
    must_effect,
    must_finding,
    must_intent,
    must_outcome,
    must_refusal,
    must_text,
    take_back,
)
from controlplane.arc.reflex.victims import Victim
from controlplane.link.config import Mode
from controlplane.link.records import Guard, Intent, Reason
from controlplane.link.rules import Rule, Step, is_empty

MAX_AWAITED: Final = 4096
SHORTEST_QUIET_NS: Final = 20_000_000
"""Records of the same storm may still be in the ring when its victim is dealt with."""
_RANK: Final[Mapping[Mode, int]] = {"off": 0, "observe": 1, "enforce": 2}


class Due(NamedTuple):
    """A step to take, or with `undo` the span of an act to take back."""

    at_ns: int
    order: int
    reflex: Reflex
    step: int
    undo: bytes = b""


class Engine:
    """All reflexes of this arc."""

    def __init__(
        self,
        acts: Mapping[tuple[str, bool], Act],
        protection: Protection,
        breaker: Breaker,
        journal: Journal,
        holdings: Holdings,
        mode: Mode,
    ) -> None:
        self._acts = acts
        self._protection = protection
        self._journal = journal
        self._cooldowns = Cooldowns()
        self._due: list[Due] = []
        self._order = 0
        self._awaited: dict[Effect, tuple[Reflex, bytes, str]] = {}
        self.breaker = breaker
        self.holdings = holdings
        self.mode: Mode = mode
        self.latency = LatencyHistogram()
        self.findings: dict[str, int] = {}
        """By rule."""
        self.steps: dict[tuple[str, str], int] = {}
        """Steps by (act, outcome)."""

    def must_effective_mode(self, rule: Rule) -> Mode:
        """What a rule may do now. One without a scope, or with an open breaker, may look only."""
        if is_empty(rule.scope) or rule.name in self.breaker.open or "" in self.breaker.open:
            return must_weaker(self.mode, "observe")
        return must_weaker(self.mode, rule.mode)

    def prepare(self, place: Place) -> None:
        """A cgroup on which rules may act: have their acts ready. One that is gone has nothing to prepare."""
        for rule in place.rules():
            if rule.per == "cgroup" and rule.mode == "enforce":
                for step in rule.ladder:
                    self._prepare_act(step.act, place.cgroup)

    def _prepare_act(self, name: str, cgroup: int) -> None:
        act = self._acts.get((name, False))
        if act is not None:
            with contextlib.suppress(OSError):
                act.prepare(cgroup)

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        for act in self._acts.values():
            act.forget(cgroup)

    def must_begin(self, place: Place, culprit: Place | None, rule: Rule, test: Test, event: Event) -> None:
        """A test fired: unless it cools down, record the finding and take the steps that are due at once."""
        victim = must_victim(place, rule, event)
        until_ns = event.time_ns + must_quiet_time(rule)
        if not self._cooldowns.must_enter(rule.name, victim, event.time_ns, until_ns):
            return
        reflex = Reflex(rule, victim, event.time_ns)
        self.findings[rule.name] = self.findings.get(rule.name, 0) + 1
        mode = self.must_effective_mode(rule)
        self._journal.must_append(must_finding(reflex, place, culprit, test, event, mode))
        for number, step in enumerate(rule.ladder):
            if step.after_ns == 0:
                self._must_step(reflex, number, step)
            else:
                self._must_schedule(event.time_ns + step.after_ns, reflex, number)

    def _must_step(self, reflex: Reflex, number: int, step: Step) -> None:
        act = self._acts.get((step.act, reflex.victim.pid != 0))
        if act is None:
            return
        mode = self.must_effective_mode(reflex.rule)
        if self._protection.must_forbid(reflex.victim):
            self._must_refuse(reflex, act, "protected")
        elif self.holdings.full and not act.irreversible:
            self._must_refuse(reflex, act, "budget")
        elif mode == "enforce":
            self._must_act(reflex, number, step, act)
        else:
            self._journal.must_append(must_intent(reflex, number, step, mode, ""))
            self._must_tally(act.name, "observed")

    def _must_refuse(self, reflex: Reflex, act: Act, guard: Guard) -> None:
        self._must_tally(act.name, "refused")
        self._journal.must_append(must_refusal(reflex, act.name, guard))

    def _must_act(self, reflex: Reflex, number: int, step: Step, act: Act) -> None:
        """Hold the victim, write the intent, do it, write the outcome."""
        try:
            opened = act.must_open(reflex.victim)
        except OSError:
            self._must_refuse(reflex, act, "gone")
            return
        if act.irreversible and not self.breaker.must_allow(reflex.rule.name, reflex.event_ns):
            act.must_release(opened)
            self._must_refuse(reflex, act, "breaker")
            return
        previous = self.holdings.must_previous(act, reflex.victim, opened.previous)
        intent = must_intent(reflex, number, step, "enforce", previous)
        self._journal.must_append(intent)
        error = ""
        try:
            act.must_apply(opened)
        except OSError as failure:
            error = failure.strerror or "failed"
        returned_ns = time.monotonic_ns()
        act.must_release(opened)
        self._journal.must_append(must_outcome(reflex, intent, returned_ns, error))
        self._must_tally(act.name, "failed" if error else "done")
        if step.after_ns == 0:
            self.latency.must_observe(returned_ns - reflex.event_ns, reflex.trace_id, returned_ns)
        if not error:
            self._must_follow(reflex, act, intent)

    def _must_follow(self, reflex: Reflex, act: Act, intent: Intent) -> None:
        """Wait for the effect, and for the time to take it back."""
        if len(self._awaited) >= MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        self._awaited[act.must_effect(reflex.victim)] = (reflex, intent.span_id, act.name)
        if act.irreversible:
            return
        self.holdings.must_hold(reflex, act, intent)
        if intent.until_ns:
            self._must_schedule(intent.until_ns, reflex, intent.step, intent.span_id)

    def must_confirm(self, kind: int, who: int, value: int, time_ns: int) -> None:
        """A confirmation from the kernel; most are of no act of ours."""
        awaited = self._awaited.pop((kind, who, value), None)
        if awaited is None:
            return
        reflex, span_id, act = awaited
        self._journal.must_append(must_effect(reflex, span_id, act, time_ns))
        if act == "kill":
            self._end(reflex)

    def _end(self, reflex: Reflex) -> None:
        """The victim is dead: what is still in force on it has no purpose."""
        reflex.ended = True
        self.undo_where(lambda held: held.reflex is reflex, "ended")

    def next_due(self) -> int:
        """Monotonic time of the earliest step or undo, 0 when nothing is due."""
        while self._due and self._is_stale(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0].at_ns if self._due else 0

    def run_due(self, now_ns: int) -> None:
        """Take the steps and undos whose time has come."""
        while self._due and self._due[0].at_ns <= now_ns:
            due = heapq.heappop(self._due)
            if self._is_stale(due):
                continue
            if due.undo:
                self._undo(due.undo, "timer")
            else:
                self._must_step(due.reflex, due.step, due.reflex.rule.ladder[due.step])

    def _is_stale(self, due: Due) -> bool:
        return due.undo not in self.holdings if due.undo else due.reflex.ended

    def undo_where(self, wanted: Callable[[InForce], bool], reason: Reason, actor: str = "") -> int:
        """Take back every act in force that is wanted; how many."""
        spans = self.holdings.chosen(wanted)
        for span in spans:
            self._undo(span, reason, actor)
        return len(spans)

    def _undo(self, span_id: bytes, reason: Reason, actor: str = "") -> None:
        """It is out of force afterwards, whatever came of it."""
        held, shared = self.holdings.release(span_id)
        self._journal.must_append(take_back(held.act, held.intent, reason, actor, shared=shared))
        self._must_tally(held.act.name, "undone")

    def end_where(self, wanted: Callable[[Reflex], bool]) -> None:
        """No further steps of the wanted reflexes."""
        for due in self._due:
            if wanted(due.reflex):
                due.reflex.ended = True

    def stop_acting(self, acting: Container[str], reason: Reason) -> None:
        """Only the rules named may go on; the others' acts in force are taken back."""
        self.end_where(lambda reflex: reflex.rule.name not in acting)
        self.undo_where(lambda held: held.intent.rule not in acting, reason)

    def _must_schedule(self, at_ns: int, reflex: Reflex, step: int, undo: bytes = b"") -> None:
        self._order += 1
        heapq.heappush(self._due, Due(at_ns, self._order, reflex, step, undo))

    def _must_tally(self, act: str, outcome: str) -> None:
        key = (act, outcome)
        self.steps[key] = self.steps.get(key, 0) + 1


def must_weaker(one: Mode, other: Mode) -> Mode:
    """The mode that allows less."""
    return one if _RANK[one] <= _RANK[other] else other


def must_victim(place: Place, rule: Rule, event: Event) -> Victim:
    """Whom the rule's acts are aimed at."""
    if rule.per == "cgroup":
        return Victim(place.cgroup, place.path)
    return Victim(place.cgroup, place.path, event.pid, event.start_ns, must_text(event.comm))


def must_quiet_time(rule: Rule) -> int:
    """One reflex of a rule against a victim at a time: its cooldown, or longer while its ladder lasts."""
    quiet = max(rule.cooldown_ns, SHORTEST_QUIET_NS)
    for step in rule.ladder:
        quiet = max(quiet, step.after_ns + step.for_ns)
    return quiet
