"""The ladder at work: a finding starts a reflex, steps are guarded, journalled, done, confirmed, undone.

Owns what is due. Waits for nothing: the loop calls `must_begin` for a finding, `must_confirm` for the
kernel's confirmations and `run_due` when the time has come.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import Place
from controlplane.arc.monitor.tests import Test, is_open
from controlplane.arc.reflex.acts import AbsentError, Act
from controlplane.arc.reflex.agenda import ASK, OVER, QUIET, STEP, UNDO, Agenda, Due
from controlplane.arc.reflex.by_child import ByChild
from controlplane.arc.reflex.effects import Effects, must_are_set
from controlplane.arc.reflex.guards import Guards
from controlplane.arc.reflex.holdings import Holdings, InForce
from controlplane.arc.reflex.identities import Identities
from controlplane.arc.reflex.jobs import Doing, Jobs
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.latency import LatencyHistogram
from controlplane.arc.reflex.modes import weaker
from controlplane.arc.reflex.plans import Acts, Plan, Rung, must_hush, plan_for
from controlplane.arc.reflex.storms import Storms
from controlplane.arc.reflex.tallies import Tallies
from controlplane.arc.reflex.telling import (
    Evidence,
    Reflex,
    must_intent,
    must_outcome,
    must_victim,
    take_back,
)
from controlplane.link.config import Mode
from controlplane.link.records import Intent, Reason
from controlplane.link.rules import BY_HAND, Rule, is_empty
from controlplane.link.signals import BY_NAME, Known

MAX_PUT_OFF: Final = 64
"""Looked through at each wake-up: some 50 us at most. Beyond it the oldest are given up."""


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
        self._guards = guards
        self._journal = journal
        self._identities = Identities()
        self._plans: dict[str, Plan] = {}
        self._modes: dict[str, Mode] = {}
        self._agenda = Agenda()
        self._put_off: deque[tuple[Reflex, Rung]] = deque(maxlen=MAX_PUT_OFF)
        """Steps that still lack certainty or confirmation, or are taken only when nothing was lost."""
        self._effects = Effects(journal, self._agenda)
        self.storms = Storms(journal, self._agenda)
        self.unfelt: AbstractSet[str] = frozenset()
        """Signals of which nothing is told for now: that they are quiet means nothing."""
        self.last_denied: Callable[[int, str], int] = lambda _cgroup, _what: 0
        """When the kernel last denied something to a cgroup, 0 when never."""
        self.breaker = guards.breaker
        self.holdings = holdings
        self.jobs = Jobs()
        """For children, who begin when the acts of a wake-up are done."""
        self.mode: Mode = mode
        self.latency = LatencyHistogram()
        self.tallies = told = Tallies(journal, self._identities, known)
        self.findings, self.steps, self.refusals = told.findings, told.steps, told.refusals
        self.held = told.held

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Put rules in force, after any change of rules, of the mode or of the breaker."""
        self._plans = {rule.name: plan_for(rule, self._acts) for rule in rules}
        self.breaker.follow(plan.rule for plan in self._plans.values())
        self._set_modes()

    def _set_modes(self) -> None:
        self._modes = {name: self.effective_mode(plan.rule) for name, plan in self._plans.items()}
        self._modes[BY_HAND] = "enforce"

    def effective_mode(self, rule: Rule) -> Mode:
        """What a rule may do now. One without a scope, or with an open breaker, may look only."""
        looking = is_empty(rule.scope) or rule.name in self.breaker.open or "" in self.breaker.open
        return weaker(self.mode, weaker(rule.mode, "observe") if looking else rule.mode)

    def acting(self) -> dict[str, Rule]:
        """Rules that may act now, by name."""
        return {name: plan.rule for name, plan in self._plans.items() if self._modes.get(name) == "enforce"}

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
        test.quiet_until_ns = event.time_ns + plan.rest_ns
        victim = must_victim(who, rule, event)
        evidence = Evidence(place, who, culprit, test, event, mode)
        identities = self._identities
        trace, root = identities.must_trace(), identities.must_span()
        reflex = Reflex(rule, victim, evidence, trace, root, event.time_ns, decided_ns)
        for rung in plan.at_once:
            self._must_come_to(reflex, rung, event.time_ns)
        self.tallies.must_tell(reflex)
        for rung in plan.later:
            self._agenda.must_add(event.time_ns + rung.step.after_ns, STEP, reflex, rung)
        if plan.quiet_ns:
            self._agenda.must_add(event.time_ns + plan.quiet_ns, QUIET, reflex)
        self.storms.must_follow(reflex)

    def take(self, reflex: Reflex, rung: Rung) -> None:
        """A step that somebody has asked for, now."""
        self._must_step(reflex, rung, time.monotonic_ns())

    def _must_come_to(self, reflex: Reflex, rung: Rung, now_ns: int) -> None:
        """A step waits for the effect of the one before, and for evidence what cannot be undone.

        The second half of a step that was taken does not.
        """
        if not rung.allowed and (reflex.pending or (reflex.gathering and rung.act.irreversible)):
            reflex.late = True
            reflex.waiting += (rung,)
        else:
            self._must_step(reflex, rung, now_ns)

    def _must_step(self, reflex: Reflex, rung: Rung, now_ns: int) -> None:
        mode = self._modes.get(reflex.rule.name)
        if protected := self._guards.protection.must_forbid(reflex.victim, reflex.rule):
            self.tallies.must_refuse(reflex, rung.act, "protected", protected)
        elif missing := self._must_miss(reflex, rung, now_ns):
            reflex.late = True
            self._put_off.append((reflex, rung))
            self.tallies.must_refuse(reflex, rung.act, "unconfirmed", rung.doubts[missing])
        elif self._must_lack_events(reflex, rung, now_ns):
            reflex.late = True
            self._put_off.append((reflex, rung))
            self.tallies.must_refuse(reflex, rung.act, "lost", "events of its sensors were lost lately")
        elif mode != "enforce":
            self.tallies.must_observe(reflex, rung)
        elif not self._must_have_room(rung, now_ns):
            self.tallies.must_refuse(reflex, rung.act, "budget")
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

    def _must_lack_events(self, reflex: Reflex, rung: Rung, now_ns: int) -> bool:
        return self._guards.loss.must_forbid(reflex.rule, rung.act.irreversible, now_ns)

    def _must_act(self, reflex: Reflex, rung: Rung) -> None:
        """Hold the victim, write the intent, do it, write the outcome."""
        act = rung.act
        try:
            opened = act.must_open(reflex.victim, rung.step)
        except AbsentError as absent:
            self.tallies.must_refuse(reflex, act, "absent", absent.detail)
            return
        except OSError:
            self.tallies.must_refuse(reflex, act, "gone")
            return
        if (
            act.irreversible
            and not rung.allowed
            and not self.breaker.must_allow(reflex.rule.name, reflex.event_ns)
        ):
            act.must_release(opened)
            self._set_modes()
            self.tallies.must_refuse(reflex, act, "breaker")
            return
        changes = self.holdings.must_changes(reflex.victim, opened.changes)
        span = self._identities.must_span()
        intent = must_intent(reflex, rung.number, rung.step, "enforce", changes, span)
        self._journal.must_append(intent)
        if isinstance(act, ByChild):
            self.tallies.must_tell(reflex)
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
        self.tallies.must_tell(reflex)
        self._journal.must_append(must_outcome(reflex, intent, returned_ns, error))
        self.tallies.must_tally(act.name, "failed" if error else "done")
        if not error:
            self._must_follow(reflex, rung, intent, already=must_are_set(opened.changes))

    def keep(self, job: Doing, *, failed: bool) -> None:
        """A child has done what is to be undone: when its time is over, or if it failed, at once."""
        intent = job.intent
        self._must_keep(job.reflex, job.rung.act, intent)
        if failed or job.reflex.ended or self._modes.get(intent.rule) != "enforce":
            self._undo(intent.span_id, "failed" if failed else "policy")

    def go_on(self, reflex: Reflex) -> None:
        """Evidence was taken, or could not be: steps that waited for it are taken."""
        reflex.gathering -= 1
        self.jobs.gathering.remove(reflex)
        self._must_go_on(reflex, time.monotonic_ns())

    def _must_follow(self, reflex: Reflex, rung: Rung, intent: Intent, *, already: bool = False) -> None:
        """Wait for the effect, for the end of its grace, and for the time to take it back."""
        self._effects.must_await(reflex, rung, intent, already=already)
        if rung.then is not None:
            self._agenda.must_add(time.monotonic_ns() + rung.step.grace_ns, STEP, reflex, rung.then)
        if not rung.act.irreversible:
            self._must_keep(reflex, rung.act, intent)

    def _must_keep(self, reflex: Reflex, act: Act, intent: Intent) -> None:
        self.holdings.must_hold(reflex, act, intent)
        if intent.until_ns:
            self._agenda.must_add(intent.until_ns, UNDO, reflex, None, intent.span_id)

    def must_confirm(self, kind: int, who: int, value: int, time_ns: int) -> None:
        """A confirmation from the kernel; most are of no act of ours."""
        for reflex, span_id, act in self._effects.must_take((kind, who, value), time_ns):
            if act == "kill":
                self._end(reflex, "ended")
            self._must_settle(reflex, span_id, time_ns)

    def _must_settle(self, reflex: Reflex, span_id: bytes, now_ns: int) -> None:
        """No more is to be waited for it: steps that waited follow, or wait for one of them in turn."""
        if reflex.pending == span_id:
            reflex.pending = b""
            self._must_go_on(reflex, now_ns)

    def _must_go_on(self, reflex: Reflex, now_ns: int) -> None:
        waiting, reflex.waiting = reflex.waiting, ()
        for rung in waiting:
            if not reflex.ended:
                self._must_come_to(reflex, rung, now_ns)

    def _end(self, reflex: Reflex, reason: Reason) -> None:
        """No further steps, and what is in force on it has no purpose any more."""
        reflex.ended = True
        self.undo_where(lambda held: held.reflex is reflex, reason)

    def tend(self) -> None:
        """Between batches."""
        self._identities.tend()

    def next_due(self) -> int:
        """Monotonic time of the earliest step or undo, 0 when nothing is due."""
        return self._agenda.next_ns(self._is_stale)

    def _is_stale(self, due: Due) -> bool:
        if due.what in (STEP, QUIET):
            return due.reflex.ended
        if due.what == UNDO:
            return due.span_id not in self.holdings
        return due.what != OVER and due.reflex.pending != due.span_id

    def run_due(self, now_ns: int) -> None:
        """Take the steps and undos whose time has come, and steps put off that now lack nothing."""
        while (due := self._agenda.take(now_ns)) is not None:
            if not self._is_stale(due):
                self._run(due, now_ns)
        for _ in range(len(self._put_off)):
            self._reconsider(*self._put_off.popleft(), now_ns)

    def _run(self, due: Due, now_ns: int) -> None:
        reflex = due.reflex
        if due.what == STEP:
            assert due.rung is not None
            self._must_come_to(reflex, due.rung, now_ns)
        elif due.what == UNDO:
            self._undo(due.span_id, "timer")
        elif due.what == QUIET:
            self._calm(reflex, now_ns)
        elif due.what == OVER:
            self.storms.look(reflex, now_ns)
        elif due.what == ASK:
            held = self.holdings.get(due.span_id)
            if self._effects.ask(due, held.intent.changes if held else ()):
                self._must_settle(reflex, due.span_id, now_ns)
        else:
            if self._effects.give_up(due) and due.rung is not None and due.rung.act.name == "kill":
                self._end(reflex, "ended")
            self._must_settle(reflex, due.span_id, now_ns)

    def _calm(self, reflex: Reflex, now_ns: int) -> None:
        """De-escalate once the signal has been quiet for long enough, and look again then if it has not."""
        calm_ns = self._quiet_since(reflex, now_ns) + reflex.rule.quiet_ns
        if calm_ns > now_ns:
            self._agenda.must_add(calm_ns, QUIET, reflex)
            return
        if reflex.test.quiet_until_ns == reflex.until_ns:
            reflex.test.quiet_until_ns = reflex.event_ns + reflex.rule.cooldown_ns
        self._end(reflex, "quiet")

    def _quiet_since(self, reflex: Reflex, now_ns: int) -> int:
        """A frozen victim is quiet in any case, as is one that may not grow, and a signal that is not felt.

        None of that counts. Who is denied something and goes on trying is not quiet.
        """
        if reflex.rule.signal in self.unfelt or is_open(reflex.test):
            return now_ns
        last_ns = max(reflex.test.fired_ns, reflex.thawed_ns)
        for held in self.holdings.all():
            if held.reflex is not reflex:
                continue
            if must_hush(held.act.name, reflex.rule.signal):
                return max(now_ns, held.intent.until_ns)
            if held.act.name == "deny":
                denied = (self.last_denied(reflex.victim.cgroup, each.what) for each in held.intent.changes)
                last_ns = max(last_ns, *denied)
        return last_ns

    def _reconsider(self, reflex: Reflex, rung: Rung, now_ns: int) -> None:
        """A step that was put off: take it, wait on, or once the next reflex may begin, give it up."""
        if reflex.ended or now_ns >= reflex.until_ns:
            return
        missing = self._must_miss(reflex, rung, now_ns)
        if missing or reflex.pending or self._must_lack_events(reflex, rung, now_ns):
            self._put_off.append((reflex, rung))
        else:
            self._must_step(reflex, rung, now_ns)

    def undo_where(self, wanted: Callable[[InForce], bool], reason: Reason, actor: str = "") -> int:
        """Take back every act in force that is wanted, the last one first; how many."""
        spans = self.holdings.chosen(wanted)
        for span in reversed(spans):
            self._undo(span, reason, actor)
        return len(spans)

    def _undo(self, span_id: bytes, reason: Reason, actor: str = "") -> None:
        """It is out of force afterwards, whatever came of it."""
        held, changes = self.holdings.release(span_id)
        hook = held.reflex.rule.ladder[held.intent.step].hook
        if hook is not None:
            self.jobs.take_back(held.intent, hook, reason, actor)
            return
        undone = take_back(held.act, held.intent, changes, reason, actor)
        self._journal.must_append(undone)
        self.tallies.must_tally(held.act.name, "undone")
        if must_hush(held.act.name, held.reflex.rule.signal):
            held.reflex.thawed_ns = undone.time_ns
        self._must_settle(held.reflex, span_id, undone.time_ns)

    def end_where(self, wanted: Callable[[Reflex], bool]) -> None:
        """No further steps of the wanted reflexes."""
        due = (due.reflex for due in self._agenda)
        for reflex in (*due, *(reflex for reflex, _ in self._put_off), *self.jobs.gathering):
            if wanted(reflex):
                reflex.ended = True

    def stop_acting(self, acting: Mapping[str, Rule], reason: Reason) -> None:
        """Only these rules, as they are now, and people may go on; others' acts in force are taken back."""

        def stops(reflex: Reflex) -> bool:
            return reflex.rule.name != BY_HAND and acting.get(reflex.rule.name) != reflex.rule

        self.end_where(stops)
        self.undo_where(lambda held: stops(held.reflex), reason)
