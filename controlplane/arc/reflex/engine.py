"""The ladder at work: a finding starts a reflex, steps are guarded, journalled, done, confirmed, undone.

Owns what is in force and what is due. Waits for nothing: the loop calls `must_begin` for a finding,
`must_confirm` for the kernel's confirmations and `run_due` when the time has come.
"""

import heapq
import os
import time
from collections.abc import Callable, Container, Mapping
from typing import Final, Literal, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import Place
from controlplane.arc.monitor.tests import Test
from controlplane.arc.reflex.acts import GONE, Act, ForeignValueError
from controlplane.arc.reflex.guards import Breaker, Cooldowns, Protection
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.latency import LatencyHistogram
from controlplane.arc.reflex.victims import Victim
from controlplane.link.config import Mode
from controlplane.link.records import Effect, Finding, GuardRefused, Intent, Outcome, Reason, Undo
from controlplane.link.rules import Rule, Step, is_empty
from controlplane.link.signals import BY_NAME

Guard = Literal["protected", "cooldown", "breaker", "scope", "gone", "identity"]
Holding = tuple[str, tuple[int, int, int]]
"""Act and victim."""
MAX_AWAITED: Final = 4096
_WEAKEST: Final[Mapping[Mode, int]] = {"off": 0, "observe": 1, "enforce": 2}


class Reflex:
    """One run of a rule's ladder against one victim."""

    __slots__ = ("decided_ns", "ended", "event_ns", "root", "rule", "trace_id", "victim")

    def __init__(self, rule: Rule, victim: Victim, event_ns: int, decided_ns: int) -> None:
        identity = os.urandom(24)
        self.trace_id = identity[:16]
        self.root = identity[16:]
        self.rule = rule
        self.victim = victim
        self.event_ns = event_ns
        self.decided_ns = decided_ns
        self.ended = False


class InForce(NamedTuple):
    """A reversible act that was done and not yet taken back."""

    reflex: Reflex
    act: Act
    intent: Intent


class Due(NamedTuple):
    """A step to take, or with `undo` the span of an act to take back."""

    at_ns: int
    order: int
    reflex: Reflex
    step: int
    undo: bytes = b""


def must_weaker(one: Mode, other: Mode) -> Mode:
    """The mode that allows less."""
    return one if _WEAKEST[one] <= _WEAKEST[other] else other


class Engine:
    """All reflexes of this arc."""

    def __init__(
        self,
        acts: Mapping[tuple[str, bool], Act],
        protection: Protection,
        breaker: Breaker,
        journal: Journal,
        in_force: dict[bytes, InForce],
        mode: Mode,
    ) -> None:
        self._acts = acts
        self._protection = protection
        self._journal = journal
        self._cooldowns = Cooldowns()
        self._due: list[Due] = []
        self._order = 0
        self._awaited: dict[tuple[int, int, int], tuple[Reflex, bytes, str]] = {}
        self._holders: dict[Holding, tuple[int, str]] = {}
        """How many reflexes hold a victim by the same act, and the value before the first."""
        self.breaker = breaker
        self.in_force = in_force
        """By span of the intent."""
        self.mode: Mode = mode
        self.latency = LatencyHistogram()
        self.findings: dict[str, int] = {}
        self.steps: dict[tuple[str, str], int] = {}
        """Steps by (act, outcome)."""

    def must_effective_mode(self, rule: Rule) -> Mode:
        """What a rule may do now. One without a scope may look only."""
        if is_empty(rule.scope) or rule.name in self.breaker.open or "" in self.breaker.open:
            return must_weaker(self.mode, "observe")
        return must_weaker(self.mode, rule.mode)

    def must_begin(self, place: Place, rule: Rule, test: Test, event: Event) -> None:
        """A test fired: unless it cools down, record the finding and take the steps that are due at once."""
        victim = must_victim(place, rule, event)
        until_ns = event.time_ns + must_quiet_time(rule)
        if not self._cooldowns.must_enter(rule.name, victim, event.time_ns, until_ns):
            return
        reflex = Reflex(rule, victim, event.time_ns, time.monotonic_ns())
        self.findings[rule.name] = self.findings.get(rule.name, 0) + 1
        self._journal.must_append(self._must_describe(reflex, place, test, event))
        for number, step in enumerate(rule.ladder):
            if step.after_ns == 0:
                self._must_step(reflex, number, step)
            else:
                self._must_schedule(Due(event.time_ns + step.after_ns, self._must_number(), reflex, number))

    def _must_describe(self, reflex: Reflex, place: Place, test: Test, event: Event) -> Finding:
        rule = reflex.rule
        return Finding(
            time_ns=event.time_ns,
            trace_id=reflex.trace_id,
            span_id=reflex.root,
            decided_ns=reflex.decided_ns,
            rule=rule.name,
            signal=rule.signal,
            unit=BY_NAME[rule.signal].unit,
            cgroup=place.cgroup,
            path=place.path,
            pid=event.pid,
            start_ns=event.start_ns,
            comm=event.comm.rstrip(b"\0").decode(errors="replace"),
            culprit=event.culprit,
            count=event.weight,
            value=event.value,
            statistic=test.statistic,
            threshold=test.threshold,
            test=test.kind,
            mode=self.must_effective_mode(rule),
        )

    def _must_step(self, reflex: Reflex, number: int, step: Step) -> None:
        act = self._acts.get((step.act, bool(reflex.victim.pid)))
        if act is None:
            return
        mode = self.must_effective_mode(reflex.rule)
        guard = self._must_ask_guards(reflex, act, mode)
        if guard is not None:
            self._must_refuse(reflex, act, guard)
        elif mode == "enforce":
            self._must_act(reflex, number, step, act)
        else:
            self._journal.must_append(self._must_intend(reflex, number, step, mode, ""))
            self._must_tally(act.name, "observed")

    def _must_ask_guards(self, reflex: Reflex, act: Act, mode: Mode) -> Guard | None:
        if self._protection.must_forbid(reflex.victim):
            return "protected"
        stakes = mode == "enforce" and act.irreversible
        if stakes and not self.breaker.must_allow(reflex.rule.name, reflex.event_ns):
            return "breaker"
        return None

    def _must_refuse(self, reflex: Reflex, act: Act, guard: Guard) -> None:
        victim = reflex.victim
        self._must_tally(act.name, "refused")
        self._journal.must_append(
            GuardRefused(
                time_ns=time.monotonic_ns(),
                trace_id=reflex.trace_id,
                span_id=os.urandom(8),
                parent_id=reflex.root,
                rule=reflex.rule.name,
                act=act.name,
                guard=guard,
                path=victim.path,
                pid=victim.pid,
            )
        )

    def _must_act(self, reflex: Reflex, number: int, step: Step, act: Act) -> None:
        """Hold the victim, write the intent, do it, write the outcome."""
        try:
            opened = act.must_open(reflex.victim)
        except OSError:
            self._must_refuse(reflex, act, "gone")
            return
        previous = self._must_previous(act, reflex.victim, opened.previous)
        intent = self._must_intend(reflex, number, step, "enforce", previous)
        self._journal.must_append(intent)
        error = ""
        try:
            act.must_apply(opened)
        except OSError as failure:
            error = failure.strerror or "failed"
        returned_ns = time.monotonic_ns()
        os.close(opened.fd)
        self._must_conclude(reflex, act, intent, returned_ns, error)

    def _must_conclude(self, reflex: Reflex, act: Act, intent: Intent, returned_ns: int, error: str) -> None:
        self._journal.must_append(
            Outcome(
                time_ns=returned_ns,
                trace_id=reflex.trace_id,
                span_id=intent.span_id,
                rule=reflex.rule.name,
                act=act.name,
                ok=not error,
                error=error,
                event_ns=reflex.event_ns,
                decided_ns=reflex.decided_ns,
            )
        )
        self._must_tally(act.name, "failed" if error else "done")
        if intent.step == 0:
            self.latency.must_observe(returned_ns - reflex.event_ns, reflex.trace_id, returned_ns)
        if error:
            return
        self._must_await(reflex, act, intent.span_id)
        if not act.irreversible:
            self.in_force[intent.span_id] = InForce(reflex, act, intent)
            key = (act.name, reflex.victim.key)
            self._holders[key] = (self._must_holders(key) + 1, intent.previous)
            self._must_schedule(
                Due(intent.until_ns, self._must_number(), reflex, intent.step, intent.span_id)
            )

    def _must_intend(self, reflex: Reflex, number: int, step: Step, mode: Mode, previous: str) -> Intent:
        now = time.monotonic_ns()
        victim = reflex.victim
        return Intent(
            time_ns=now,
            trace_id=reflex.trace_id,
            span_id=os.urandom(8),
            parent_id=reflex.root,
            rule=reflex.rule.name,
            step=number,
            act=step.act,
            cgroup=victim.cgroup,
            path=victim.path,
            pid=victim.pid,
            start_ns=victim.start_ns,
            comm=victim.comm,
            previous=previous,
            until_ns=now + step.for_ns if step.for_ns else 0,
            mode=mode,
            event_ns=reflex.event_ns,
        )

    def _must_previous(self, act: Act, victim: Victim, found: str) -> str:
        """The value before any act of ours: another reflex may hold the same victim already."""
        held = self._holders.get((act.name, victim.key))
        return found if held is None else held[1]

    def _must_holders(self, key: Holding) -> int:
        held = self._holders.get(key)
        return 0 if held is None else held[0]

    def _must_await(self, reflex: Reflex, act: Act, span_id: bytes) -> None:
        if len(self._awaited) >= MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        self._awaited[act.must_effect(reflex.victim)] = (reflex, span_id, act.name)

    def must_confirm(self, kind: int, who: int, value: int, time_ns: int) -> None:
        """A confirmation from the kernel; most are of no act of ours."""
        awaited = self._awaited.pop((kind, who, value), None)
        if awaited is None:
            return
        reflex, span_id, name = awaited
        self._journal.must_append(
            Effect(
                time_ns=time_ns,
                trace_id=reflex.trace_id,
                span_id=span_id,
                rule=reflex.rule.name,
                act=name,
                event_ns=reflex.event_ns,
            )
        )
        if name == "kill":
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
                self.undo(due.undo, "timer")
            else:
                self._must_step(due.reflex, due.step, due.reflex.rule.ladder[due.step])

    def _is_stale(self, due: Due) -> bool:
        return due.undo not in self.in_force if due.undo else due.reflex.ended

    def undo_where(self, chosen: Callable[[InForce], bool], reason: Reason, actor: str = "") -> int:
        """Take back every act in force that is chosen; how many."""
        spans = [span for span, held in self.in_force.items() if chosen(held)]
        for span in spans:
            self.undo(span, reason, actor)
        return len(spans)

    def undo(self, span_id: bytes, reason: Reason, actor: str = "") -> None:
        """Take back one act; it is out of force afterwards whatever came of it."""
        held = self.in_force.pop(span_id)
        if reason in ("command", "policy", "mode", "stop"):
            held.reflex.ended = True
        key = (held.act.name, held.reflex.victim.key)
        others = self._must_holders(key) - 1
        if others:
            self._holders[key] = (others, held.intent.previous)
        else:
            del self._holders[key]
        self._journal.must_append(take_back(held.act, held.intent, reason, actor, shared=others > 0))
        self._must_tally(held.act.name, "undone")

    def end_all(self, chosen: Callable[[Reflex], bool]) -> None:
        """No further steps of the chosen reflexes."""
        for due in self._due:
            if chosen(due.reflex):
                due.reflex.ended = True

    def stop_acting(self, acting: Container[str], reason: Reason) -> None:
        """Only the rules named may go on; the others' acts in force are taken back."""
        self.end_all(lambda reflex: reflex.rule.name not in acting)
        self.undo_where(lambda held: held.intent.rule not in acting, reason)

    def _must_schedule(self, due: Due) -> None:
        if due.at_ns:
            heapq.heappush(self._due, due)

    def _must_number(self) -> int:
        self._order += 1
        return self._order

    def _must_tally(self, act: str, outcome: str) -> None:
        key = (act, outcome)
        self.steps[key] = self.steps.get(key, 0) + 1


def must_victim(place: Place, rule: Rule, event: Event) -> Victim:
    """Whom the rule's acts are aimed at."""
    if rule.per == "cgroup":
        return Victim(place.cgroup, place.path)
    comm = event.comm.rstrip(b"\0").decode(errors="replace")
    return Victim(place.cgroup, place.path, event.pid, event.start_ns, comm)


def must_quiet_time(rule: Rule) -> int:
    """One reflex of a rule against a victim at a time: its cooldown, or longer while its ladder lasts."""
    quiet = rule.cooldown_ns
    for step in rule.ladder:
        quiet = max(quiet, step.after_ns + step.for_ns)
    return quiet


def take_back(act: Act, intent: Intent, reason: Reason, actor: str = "", *, shared: bool = False) -> Undo:
    """Undo an act and say what came of it. A victim that is gone needs no undo.

    `shared`: another reflex holds the victim by the same act, so the value stays until that one lets go.
    """
    victim = Victim(intent.cgroup, intent.path, intent.pid, intent.start_ns, intent.comm)
    error = "shared" if shared else ""
    try:
        if not shared:
            act.undo(victim, intent.previous)
    except ForeignValueError:
        error = "foreign"
    except OSError as failure:
        error = "" if failure.errno in GONE else failure.strerror or "failed"
    return Undo(
        time_ns=time.monotonic_ns(),
        trace_id=intent.trace_id,
        span_id=os.urandom(8),
        parent_id=intent.span_id,
        rule=intent.rule,
        act=intent.act,
        cgroup=intent.cgroup,
        path=intent.path,
        pid=intent.pid,
        reason=reason,
        ok=error in ("", "foreign", "shared"),
        error=error,
        actor=actor,
        event_ns=intent.event_ns,
    )
