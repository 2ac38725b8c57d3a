"""The ladder at work: a finding starts a reflex, steps are guarded, journalled, done, confirmed, undone.

Owns what is due. Waits for nothing: the loop calls `must_begin` for a finding, `must_confirm` for the
kernel's confirmations and `run_due` when the time has come.
"""

import contextlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import Place
from controlplane.arc.monitor.tests import Test
from controlplane.arc.reflex.acts import AbsentError, Act, Effect
from controlplane.arc.reflex.by_child import ByChild
from controlplane.arc.reflex.evidence import MAX_HELD, Held, must_hold
from controlplane.arc.reflex.guards import Guards
from controlplane.arc.reflex.holdings import Holdings, InForce
from controlplane.arc.reflex.identities import Identities
from controlplane.arc.reflex.jobs import Doing, Jobs
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.latency import LatencyHistogram
from controlplane.arc.reflex.plans import Acts, Plan, Rung, plan_for
from controlplane.arc.reflex.telling import (
    Evidence,
    Reflex,
    must_effect,
    must_finding,
    must_intent,
    must_outcome,
    must_refusal,
    must_victim,
    take_back,
)
from controlplane.link.config import Mode
from controlplane.link.records import Guard, Intent, Reason
from controlplane.link.rules import BY_HAND, Rule, is_empty
from controlplane.link.signals import BY_NAME, Known

MAX_AWAITED: Final = 4096
MAX_PUT_OFF: Final = 64
"""Looked through at each wake-up: some 50 us at most. Beyond it the oldest are given up."""
ASK_NS: Final = 250_000
ASKED: Final = 7
"""An effect that no event tells is asked for at once, after 1 ms, 4 ms and so on for some 5 s."""
_RANK: Final[Mapping[Mode, int]] = {"off": 0, "observe": 1, "enforce": 2}


class Due(NamedTuple):
    """A step to take, or with `undo` the span of an act to take back, or to be asked for its effect."""

    at_ns: int
    order: int
    reflex: Reflex
    rung: Rung | None
    undo: bytes
    asked: int
    """How often it was asked for; 0: it is to be taken back."""


class Engine:
    """All reflexes of this arc."""

    def __init__(
        self,
        acts: Acts,
        guards: Guards,
        journal: Journal,
        holdings: Holdings,
        mode: Mode,
        known: Known = BY_NAME,
    ) -> None:
        self._acts = acts
        self._known = known
        self._guards = guards
        self._journal = journal
        self._identities = Identities()
        self._plans: dict[str, Plan] = {}
        self._modes: dict[str, Mode] = {}
        self._due: list[Due] = []
        self._order = 0
        self._put_off: deque[tuple[Reflex, Rung]] = deque(maxlen=MAX_PUT_OFF)
        """Steps that cannot be undone and still lack certainty or confirmation."""
        self._awaited: dict[Effect, tuple[Reflex, bytes, str]] = {}
        self.breaker = guards.breaker
        self.holdings = holdings
        self.jobs = Jobs()
        """For children, who begin when the acts of a wake-up are done."""
        self.mode: Mode = mode
        self.latency = LatencyHistogram()
        self.held: deque[Held] = deque()
        """Findings told and not yet explained."""
        self.findings: dict[str, int] = {}
        """By rule."""
        self.steps: dict[tuple[str, str], int] = {}
        """Steps by (act, outcome)."""
        self.refusals: dict[str, int] = {}
        """Of steps, by guard."""

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Put rules in force, after any change of rules, of the mode or of the breaker."""
        self._plans = {rule.name: plan_for(rule, self._acts) for rule in rules}
        self._set_modes()

    def _set_modes(self) -> None:
        self._modes = {name: self.effective_mode(plan.rule) for name, plan in self._plans.items()}
        self._modes[BY_HAND] = "enforce"

    def effective_mode(self, rule: Rule) -> Mode:
        """What a rule may do now. One without a scope, or with an open breaker, may look only."""
        looking = is_empty(rule.scope) or rule.name in self.breaker.open or "" in self.breaker.open
        return weaker(self.mode, weaker(rule.mode, "observe") if looking else rule.mode)

    def prepare(self, place: Place) -> None:
        """A cgroup on which rules may act: have their acts ready. One that is gone has nothing to prepare."""
        for rule in place.rules():
            plan = self._plans.get(rule.name)
            if plan is not None and rule.per == "cgroup" and rule.mode == "enforce":
                for rung in (*plan.at_once, *plan.later):
                    with contextlib.suppress(OSError):
                        rung.act.prepare(place.cgroup, rung.step)

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        for act in self._acts.values():
            act.forget(cgroup)

    def must_begin(
        self, place: Place, who: Place, culprit: Place, rule: Rule, test: Test, event: Event
    ) -> None:
        """A test fired. Its ladder's first steps come before its own record: telling can wait, acting not."""
        decided_ns = time.monotonic_ns()
        plan, mode = self._plans.get(rule.name), self._modes.get(rule.name, "off")
        if plan is None or mode == "off":
            return
        test.quiet_until_ns = event.time_ns + plan.quiet_ns
        victim = must_victim(who, rule, event)
        evidence = Evidence(place, who, culprit, test, event, mode)
        identities = self._identities
        trace, root = identities.must_trace(), identities.must_span()
        reflex = Reflex(rule, victim, evidence, trace, root, event.time_ns, decided_ns)
        for rung in plan.at_once:
            self._must_step(reflex, rung, event.time_ns)
        self._must_tell(reflex)
        for rung in plan.later:
            self._must_schedule(event.time_ns + rung.step.after_ns, reflex, rung)

    def _must_tell(self, reflex: Reflex) -> None:
        """The finding, once."""
        if reflex.evidence is None:
            return
        name = reflex.rule.name
        self.findings[name] = self.findings.get(name, 0) + 1
        reflex.finding = must_finding(reflex, reflex.evidence, self._known[reflex.rule.signal].unit)
        self._journal.must_append(reflex.finding)
        if len(self.held) < MAX_HELD:
            self.held.append(must_hold(reflex, reflex.evidence))
        reflex.evidence = None

    def _must_step(self, reflex: Reflex, rung: Rung, now_ns: int) -> None:
        mode = self._modes.get(reflex.rule.name)
        if reflex.gathering and rung.act.irreversible:
            reflex.waiting += (rung,)
        elif self._guards.protection.must_forbid(reflex.victim):
            self._must_refuse(reflex, rung.act, "protected")
        elif missing := self._must_miss(reflex, rung, now_ns):
            reflex.late = True
            self._put_off.append((reflex, rung))
            self._must_refuse(reflex, rung.act, "unconfirmed", rung.doubts[missing])
        elif mode != "enforce":
            self._must_tell(reflex)
            self._journal.must_append(
                must_intent(reflex, rung.number, rung.step, "observe", (), self._identities.must_span())
            )
            self._must_tally(rung.act.name, "observed")
        elif not self._must_have_room(rung, now_ns):
            self._must_refuse(reflex, rung.act, "budget")
        else:
            self._must_act(reflex, rung)

    def _must_have_room(self, rung: Rung, now_ns: int) -> bool:
        if rung.act.irreversible:
            return True
        return not self.holdings.full and (
            not isinstance(rung.act, ByChild) or self.jobs.must_admit(rung.step, now_ns)
        )

    def _must_miss(self, reflex: Reflex, rung: Rung, now_ns: int) -> int:
        if not rung.doubts:
            return 0
        asked = self._guards.confirmation
        return asked.must_miss(reflex.rule, reflex.test, reflex.victim.cgroup, now_ns)

    def _must_refuse(self, reflex: Reflex, act: Act, guard: Guard, detail: str = "") -> None:
        self._must_tell(reflex)
        self._must_tally(act.name, "refused")
        self.refusals[guard] = self.refusals.get(guard, 0) + 1
        span = self._identities.must_span()
        self._journal.must_append(must_refusal(reflex, act.name, guard, detail, span))

    def _must_act(self, reflex: Reflex, rung: Rung) -> None:
        """Hold the victim, write the intent, do it, write the outcome."""
        act = rung.act
        try:
            opened = act.must_open(reflex.victim, rung.step)
        except AbsentError as absent:
            self._must_refuse(reflex, act, "absent", absent.detail)
            return
        except OSError:
            self._must_refuse(reflex, act, "gone")
            return
        if (
            act.irreversible
            and not rung.allowed
            and not self.breaker.must_allow(reflex.rule.name, reflex.event_ns)
        ):
            act.must_release(opened)
            self._set_modes()
            self._must_refuse(reflex, act, "breaker")
            return
        changes = self.holdings.must_changes(reflex.victim, opened.changes)
        span = self._identities.must_span()
        intent = must_intent(reflex, rung.number, rung.step, "enforce", changes, span)
        self._journal.must_append(intent)
        if isinstance(act, ByChild):
            self._must_tell(reflex)
            self.jobs.must_give(reflex, rung, intent, opened.fds)
            return
        error = ""
        try:
            act.must_apply(opened)
        except OSError as failure:
            error = failure.strerror or "failed"
        returned_ns = time.monotonic_ns()
        act.must_release(opened)
        if rung.step.after_ns == 0 and not reflex.late:
            self.latency.must_observe(returned_ns - reflex.event_ns, reflex.trace_id, returned_ns)
        self._must_tell(reflex)
        self._journal.must_append(must_outcome(reflex, intent, returned_ns, error))
        self._must_tally(act.name, "failed" if error else "done")
        if not error:
            self._must_follow(reflex, rung, intent)

    def keep(self, job: Doing, *, failed: bool) -> None:
        """A child has done what is to be undone: when its time is over, or if it failed, at once."""
        intent = job.intent
        self._must_keep(job.reflex, job.rung.act, intent)
        if failed or job.reflex.ended or self._modes.get(intent.rule) != "enforce":
            self._undo(intent.span_id, "failed" if failed else "policy")

    def take(self, reflex: Reflex, rung: Rung) -> None:
        """A step that somebody has asked for, now."""
        self._must_step(reflex, rung, time.monotonic_ns())

    def _must_follow(self, reflex: Reflex, rung: Rung, intent: Intent) -> None:
        """Wait for the effect, for the end of its grace, and for the time to take it back."""
        act = rung.act
        if len(self._awaited) >= MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        awaited = act.must_effect(reflex.victim)
        if awaited is not None:
            self._awaited[awaited] = (reflex, intent.span_id, act.name)
        elif not self._must_see(reflex, act, intent):
            self._must_ask_later(reflex, intent.span_id, 1)
        if rung.then is not None:
            self._must_schedule(time.monotonic_ns() + rung.step.grace_ns, reflex, rung.then)
        if not act.irreversible:
            self._must_keep(reflex, act, intent)

    def _must_keep(self, reflex: Reflex, act: Act, intent: Intent) -> None:
        self.holdings.must_hold(reflex, act, intent)
        if intent.until_ns:
            self._must_schedule(intent.until_ns, reflex, None, intent.span_id)

    def _must_see(self, reflex: Reflex, act: Act, intent: Intent) -> bool:
        """Ask the kernel for the effect, and tell it; a victim that is gone shows none."""
        try:
            seen = act.must_have(reflex.victim, intent.changes)
        except OSError:
            return False
        if seen:
            now = time.monotonic_ns()
            self._journal.must_append(must_effect(reflex, intent.span_id, act.name, now))
        return seen

    def _must_ask_later(self, reflex: Reflex, span_id: bytes, asked: int) -> None:
        """At growing intervals, some times."""
        if asked <= ASKED:
            at_ns = time.monotonic_ns() + (ASK_NS << 2 * asked)
            self._must_schedule(at_ns, reflex, None, span_id, asked)

    def _ask(self, due: Due) -> None:
        held = self.holdings.find(due.undo)
        if not self._must_see(held.reflex, held.act, held.intent):
            self._must_ask_later(due.reflex, due.undo, due.asked + 1)

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

    def tend(self) -> None:
        """Between batches."""
        self._identities.tend()

    def next_due(self) -> int:
        """Monotonic time of the earliest step or undo, 0 when nothing is due."""
        while self._due and self._is_stale(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0].at_ns if self._due else 0

    def run_due(self, now_ns: int) -> None:
        """Take the steps and undos whose time has come, and steps put off that now lack nothing."""
        while self._due and self._due[0].at_ns <= now_ns:
            due = heapq.heappop(self._due)
            if self._is_stale(due):
                continue
            if due.rung is not None:
                self._must_step(due.reflex, due.rung, now_ns)
            elif due.asked:
                self._ask(due)
            else:
                self._undo(due.undo, "timer")
        for _ in range(len(self._put_off)):
            self._reconsider(*self._put_off.popleft(), now_ns)

    def _reconsider(self, reflex: Reflex, rung: Rung, now_ns: int) -> None:
        """A step that was put off: take it, wait on, or once the next reflex may begin, give it up."""
        if reflex.ended or now_ns >= reflex.until_ns:
            return
        if self._must_miss(reflex, rung, now_ns):
            self._put_off.append((reflex, rung))
        else:
            self._must_step(reflex, rung, now_ns)

    def _is_stale(self, due: Due) -> bool:
        return due.undo not in self.holdings if due.rung is None else due.reflex.ended

    def undo_where(self, wanted: Callable[[InForce], bool], reason: Reason, actor: str = "") -> int:
        """Take back every act in force that is wanted; how many."""
        spans = self.holdings.chosen(wanted)
        for span in spans:
            self._undo(span, reason, actor)
        return len(spans)

    def _undo(self, span_id: bytes, reason: Reason, actor: str = "") -> None:
        """It is out of force afterwards, whatever came of it."""
        held, changes = self.holdings.release(span_id)
        hook = held.reflex.rule.ladder[held.intent.step].hook
        if hook is not None:
            self.jobs.take_back(held.intent, hook, reason, actor)
            return
        self._journal.must_append(take_back(held.act, held.intent, changes, reason, actor))
        self._must_tally(held.act.name, "undone")

    def tally(self, act: str, outcome: str, count: int = 1) -> None:
        """Steps that were finished elsewhere."""
        self.steps[act, outcome] = self.steps.get((act, outcome), 0) + count

    def end_where(self, wanted: Callable[[Reflex], bool]) -> None:
        """No further steps of the wanted reflexes."""
        for reflex in (*(due.reflex for due in self._due), *(reflex for reflex, _ in self._put_off)):
            if wanted(reflex):
                reflex.ended = True

    def stop_acting(self, acting: Collection[str], reason: Reason) -> None:
        """Only the rules named, and people, may go on; others' acts in force are taken back."""
        self.end_where(lambda reflex: reflex.rule.name not in (BY_HAND, *acting))
        self.undo_where(lambda held: held.intent.rule not in (BY_HAND, *acting), reason)

    def _must_schedule(
        self, at_ns: int, reflex: Reflex, rung: Rung | None, undo: bytes = b"", asked: int = 0
    ) -> None:
        self._order += 1
        heapq.heappush(self._due, Due(at_ns, self._order, reflex, rung, undo, asked))

    def _must_tally(self, act: str, outcome: str) -> None:
        key = (act, outcome)
        self.steps[key] = self.steps.get(key, 0) + 1


def weaker(one: Mode, other: Mode) -> Mode:
    """The mode that allows less."""
    return one if _RANK[one] <= _RANK[other] else other
