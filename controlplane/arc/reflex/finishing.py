"""What becomes of a reflex when a child has done its part: outcome, effect, undo, steps that waited."""

import time
from collections.abc import Iterable, Iterator

from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.jobs import Doing, Job, Jobs
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.telling import must_effect, must_outcome, undo_of
from controlplane.link.errands import Report
from controlplane.link.records import Intent, Undo
from controlplane.link.rules import Rule


class Finishing:
    """Takes every job back, once, with its report."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self.jobs = engine.jobs

    def finished(self, job: Job, report: Report) -> None:
        """Tell it, and go on."""
        if isinstance(job, Doing):
            self._done(job, report)
        else:
            error = report.error and (report.detail or report.error)
            self._journal.must_append(undo_of(job.intent, job.reason, job.actor, error, ok=not error))
            self._engine.tallies.must_tally(job.intent.act, "undone")

    def _done(self, job: Doing, report: Report) -> None:
        reflex, intent = job.reflex, job.intent
        now = time.monotonic_ns()
        self._journal.must_append(must_outcome(reflex, intent, now, report.error, report.detail))
        self._engine.tallies.must_tally(intent.act, "failed" if report.error else "done")
        if report.in_effect:
            self._journal.must_append(must_effect(reflex, intent.span_id, intent.act, now))
        if report.deleted:
            self._engine.tallies.must_tally(intent.act, "deleted", report.deleted)
        if intent.changes:
            self._engine.keep(job, failed=bool(report.error))
        if intent.act == "evidence":
            self._engine.go_on(reflex)


def take_back_hooks(left: Iterable[Intent], rules: Iterable[Rule], jobs: Jobs) -> Iterator[Undo]:
    """What a dead predecessor's programs did: by what the policies' files say now, and by nothing else.

    Yields what is to be told at once, of those of which the files say nothing any more.
    """
    hooks = {(rule.name, number): step.hook for rule in rules for number, step in enumerate(rule.ladder)}
    for intent in left:
        hook = hooks.get((intent.rule, intent.step)) if intent.act == "hook" else None
        if hook is not None and hook.undo:
            jobs.take_back(intent, hook, "restart")
        elif intent.act == "hook":
            yield undo_of(intent, "restart", "", "its policy has no such undo any more", ok=False)
