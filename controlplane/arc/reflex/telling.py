"""A reflex in the journal's words: makes the records, and takes an act back while saying what came of it."""

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.streams import Place
from controlplane.arc.monitor.tests import Test
from controlplane.arc.reflex.acts import GONE, Act, ForeignValueError
from controlplane.arc.reflex.plans import Rung
from controlplane.arc.reflex.victims import Victim
from controlplane.link.config import Mode
from controlplane.link.records import (
    SAMPLED,
    Change,
    Effect,
    Finding,
    Guard,
    GuardRefused,
    Intent,
    Outcome,
    Reason,
    Undo,
)
from controlplane.link.rules import Rule, Step


class Evidence(NamedTuple):
    """What made a test fire, until it is told."""

    place: Place
    who: Place
    culprit: Place
    test: Test
    event: Event
    mode: Mode


class Reflex:
    """One run of a rule's ladder against one victim."""

    __slots__ = (
        *("actor", "decided_ns", "ended", "event_ns", "evidence", "finding", "gathering", "late", "pending"),
        *(
            "place",
            "root",
            "rule",
            "test",
            "thawed_ns",
            "trace_flags",
            "trace_id",
            "until_ns",
            "victim",
            "waiting",
        ),
    )

    def __init__(
        self,
        rule: Rule,
        victim: Victim,
        evidence: Evidence,
        trace_id: bytes,
        root: bytes,
        event_ns: int,
        decided_ns: int,
    ) -> None:
        self.rule = rule
        self.victim = victim
        self.evidence: Evidence | None = evidence
        self.place = evidence.place
        """Where it was felt."""
        self.test = evidence.test
        self.until_ns = evidence.test.quiet_until_ns
        """Then the stream's next reflex may begin."""
        self.trace_id = trace_id
        self.trace_flags = SAMPLED
        self.root = root
        """Span of the finding, parent of every step's."""
        self.event_ns = event_ns
        self.decided_ns = decided_ns
        self.ended = False
        self.late = False
        """A step was put off or had to wait, so that times since the event say nothing of ours."""
        self.pending = b""
        """Span of the act whose effect is not known yet: further steps wait for it."""
        self.waiting: tuple[Rung, ...] = ()
        """Those steps."""
        self.thawed_ns = 0
        """When a freeze of it last ended: a frozen victim is quiet in any case."""
        self.finding: Finding | None = None
        """Once it was told."""
        self.actor = ""
        """Who asked for it, where nothing fired."""
        self.gathering = 0
        """How much evidence is being taken, for which what cannot be undone waits."""


def must_text(comm: bytes) -> str:
    """A command name as the kernel has it."""
    return comm.rstrip(b"\0").decode(errors="replace")


def must_victim(who: Place, rule: Rule, event: Event) -> Victim:
    """Whom the rule's acts are aimed at."""
    if rule.per == "cgroup":
        return Victim(who.cgroup, who.path)
    comm = must_text(event.comm)
    return Victim(who.cgroup, who.path, event.pid, event.start_ns, comm, event.inode)


def must_repeats(place: Place, rule: Rule) -> int:
    """How often the rule has fired there without being told; from now on none."""
    for probes in place.probes.values():
        for probe in probes:
            if probe.rule is rule:
                untold, probe.untold = probe.untold, 0
                return untold
    return 0


def must_finding(reflex: Reflex, evidence: Evidence, unit: str) -> Finding:
    """What fired, and with what evidence."""
    rule = reflex.rule
    place, who, culprit, test, event, mode = evidence
    return Finding(
        time_ns=event.time_ns,
        trace_id=reflex.trace_id,
        trace_flags=reflex.trace_flags,
        span_id=reflex.root,
        decided_ns=reflex.decided_ns,
        rule=rule.name,
        signal=rule.signal,
        unit=unit,
        cgroup=who.cgroup,
        path=who.path,
        stream="" if place.cgroup else place.path,
        pid=event.pid,
        start_ns=event.start_ns,
        comm=must_text(event.comm),
        culprit=event.culprit,
        culprit_path=culprit.path,
        count=event.weight,
        repeats=must_repeats(place, rule),
        value=event.value,
        statistic=test.statistic,
        threshold=test.threshold,
        test=test.kind,
        mode=mode,
    )


def must_intent(
    reflex: Reflex, number: int, step: Step, mode: Mode, changes: tuple[Change, ...], span_id: bytes
) -> Intent:
    """An act about to be tried, or that would have been."""
    now = time.monotonic_ns()
    victim = reflex.victim
    return Intent(
        time_ns=now,
        trace_id=reflex.trace_id,
        trace_flags=reflex.trace_flags,
        span_id=span_id,
        parent_id=reflex.root,
        rule=reflex.rule.name,
        step=number,
        act=step.act,
        cgroup=victim.cgroup,
        path=victim.path,
        pid=victim.pid,
        start_ns=victim.start_ns,
        comm=victim.comm,
        changes=changes,
        until_ns=now + step.for_ns if step.for_ns else 0,
        mode=mode,
        event_ns=reflex.event_ns,
        actor=reflex.actor,
    )


def must_outcome(reflex: Reflex, intent: Intent, returned_ns: int, error: str, detail: str = "") -> Outcome:
    """The act's system calls returned, or the child that did it has ended."""
    return Outcome(
        time_ns=returned_ns,
        trace_id=reflex.trace_id,
        trace_flags=reflex.trace_flags,
        span_id=intent.span_id,
        rule=intent.rule,
        act=intent.act,
        ok=not error,
        error=error,
        detail=detail,
        event_ns=reflex.event_ns,
        decided_ns=reflex.decided_ns,
    )


def must_effect(reflex: Reflex, span_id: bytes, act: str, time_ns: int, error: str = "") -> Effect:
    """The kernel confirmed the act, or with `error` it did not."""
    return Effect(
        time_ns=time_ns,
        trace_id=reflex.trace_id,
        trace_flags=reflex.trace_flags,
        span_id=span_id,
        rule=reflex.rule.name,
        act=act,
        event_ns=reflex.event_ns,
        error=error,
    )


def must_refusal(reflex: Reflex, act: str, guard: Guard, detail: str, span_id: bytes) -> GuardRefused:
    """A guard forbade an act."""
    return GuardRefused(
        time_ns=time.monotonic_ns(),
        trace_id=reflex.trace_id,
        trace_flags=reflex.trace_flags,
        span_id=span_id,
        parent_id=reflex.root,
        rule=reflex.rule.name,
        act=act,
        guard=guard,
        detail=detail,
        path=reflex.victim.path,
        pid=reflex.victim.pid,
    )


def take_back(act: Act, intent: Intent, changes: Sequence[Change], reason: Reason, actor: str = "") -> Undo:
    """Undo changes of an act and say what came of it. A victim that is gone needs no undo.

    Of a value that another reflex holds as well nothing is in `changes`: it stays until that one lets go.
    """
    victim = Victim(intent.cgroup, intent.path, intent.pid, intent.start_ns, intent.comm)
    error = "shared" if len(changes) < len(intent.changes) else ""
    detail: str | None = ""
    try:
        if changes:
            detail = act.undo(victim, changes)
    except ForeignValueError:
        error = "foreign"
    except OSError as failure:
        error = "" if failure.errno in GONE else failure.strerror or "failed"
    ok = error in ("", "foreign", "shared")
    return undo_of(intent, reason, actor, error, ok=ok, detail=detail or "")


def undo_of(intent: Intent, reason: Reason, actor: str, error: str, *, ok: bool, detail: str = "") -> Undo:
    """An act is undone, or it is not; `error` says what came between, be it a failure or not."""
    return Undo(
        time_ns=time.monotonic_ns(),
        trace_id=intent.trace_id,
        trace_flags=intent.trace_flags,
        span_id=os.urandom(8),
        parent_id=intent.span_id,
        rule=intent.rule,
        act=intent.act,
        cgroup=intent.cgroup,
        path=intent.path,
        pid=intent.pid,
        reason=reason,
        ok=ok,
        error=error,
        detail=detail,
        actor=actor,
        event_ns=intent.event_ns,
    )
