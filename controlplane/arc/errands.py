"""Children that do what takes long: started when the acts of a wake-up are done, bounded in number and time.

Knows orders and reports; what a report means for a reflex is for `reflex.finishing`.
"""

import os
import signal
import time
from typing import Final, NamedTuple

from controlplane.arc.children import Child, spawn
from controlplane.arc.loop import Loop
from controlplane.arc.reflex.finishing import Finishing
from controlplane.arc.reflex.jobs import Doing, Job
from controlplane.link.errands import ENCODER, REPORTS, About, Gather, Order, Reclaim, Report, Run
from controlplane.link.malformed import MALFORMED
from controlplane.link.records import Finding, Intent
from controlplane.link.rules import NS

AT_ONCE: Final = 4
SLACK_NS: Final = 2 * NS
"""A child ends by itself when its time is over; it is killed when it has not."""
STOP_SECONDS: Final = 5.0
"""For programs that undo what others did."""
MAX_REPORT: Final = 64 * 1024
MODULE: Final = "controlplane.errand"


class Running(NamedTuple):
    """One child at work."""

    job: Job
    report: int
    until_ns: int
    child: Child


class Errands:
    """Hands each job to `finishing` once, whatever became of it."""

    def __init__(self, loop: Loop, finishing: Finishing, state_dir: str) -> None:
        self._loop = loop
        self._finishing = finishing
        self._jobs = finishing.jobs
        self._state_dir = state_dir
        self._running: dict[int, Running] = {}
        """By pid."""

    def tend(self, now_ns: int) -> None:
        """At the end of a wake-up: start what there is room for, end what has had its time."""
        for pid, running in self._running.items():
            if now_ns >= running.until_ns:
                os.kill(pid, signal.SIGKILL)
        while self._jobs.waiting and len(self._running) < AT_ONCE:
            self._start(self._jobs.waiting.popleft(), now_ns)
        while self._jobs.waiting and now_ns >= self._jobs.waiting[0].until_ns:
            self._give_up(self._jobs.waiting.popleft(), "no child was free in time")

    def next_due(self) -> int:
        """When `tend` has something to end; 0: never."""
        dues = [running.until_ns for running in self._running.values()]
        dues += [job.until_ns for job in self._jobs.waiting]
        return min(dues, default=0)

    def finish(self) -> None:
        """While stopping: begin no more acts, but see undos through; what takes longer is killed."""
        for job in [job for job in self._jobs.waiting if isinstance(job, Doing)]:
            self._jobs.waiting.remove(job)
            self._give_up(job, "the daemon stops")
        end = time.monotonic() + STOP_SECONDS
        while self._jobs.waiting or self._running:
            self.tend(time.monotonic_ns())
            pid, running = next(iter(self._running.items()))
            if not running.child.wait(max(0.0, end - time.monotonic())):
                os.kill(pid, signal.SIGKILL)
                running.child.wait(STOP_SECONDS)
            running.child.exited()

    def _start(self, job: Job, now_ns: int) -> None:
        order, report = os.memfd_create("order"), os.memfd_create("report")
        os.write(order, ENCODER.encode(self._order(job)))
        given = job.fds if isinstance(job, Doing) else ()
        try:
            pid = spawn(MODULE, (), (order, report, *given))
        except OSError as error:
            os.close(report)
            self._give_up(job, f"no child can be started: {error.strerror}")
            return
        finally:
            os.close(order)
        _close(job)
        child = Child(self._loop, pid, lambda status: self._ended(pid, status))
        self._running[pid] = Running(job, report, now_ns + job.timeout_ns + SLACK_NS, child)

    def _ended(self, pid: int, status: int) -> None:
        running = self._running.pop(pid)
        written = os.pread(running.report, MAX_REPORT, 0)
        os.close(running.report)
        self._finishing.finished(running.job, _read_report(written, status))

    def _give_up(self, job: Job, error: str) -> None:
        _close(job)
        self._finishing.finished(job, Report(error=error))

    def _order(self, job: Job) -> Order:
        return Order(errand=self._errand(job), timeout_ns=job.timeout_ns)

    def _errand(self, job: Job) -> Reclaim | Run | Gather:
        if not isinstance(job, Doing):
            about = about_of(job.intent, None)
            return Run(command=job.hook.undo, user=job.hook.user, purpose="undo", about=about)
        about, step = about_of(job.intent, job.reflex.finding), job.rung.step
        if step.hook is not None:
            return Run(command=step.hook.run, user=step.hook.user, purpose="act", about=about)
        if step.act == "evidence":
            return Gather(state_dir=self._state_dir, name=evidence_name(job.intent), about=about)
        (amount,) = step.amounts
        return Reclaim(number=amount.number, way=amount.way)


def about_of(intent: Intent, finding: Finding | None) -> About:
    """Whom and what for."""
    return About(
        trace_id=intent.trace_id.hex(),
        span_id=intent.span_id.hex(),
        policy=intent.rule,
        step=intent.step,
        cgroup=intent.cgroup,
        path=intent.path,
        pid=intent.pid,
        start_ns=intent.start_ns,
        comm=intent.comm,
        finding=finding,
    )


def evidence_name(intent: Intent) -> str:
    """Sorted by time; begins as the trace does; no two are the same."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"{stamp}-{intent.trace_id.hex()[:8]}-{intent.span_id.hex()}.txt"


def _close(job: Job) -> None:
    for fd in job.fds if isinstance(job, Doing) else ():
        os.close(fd)


def _read_report(written: bytes, status: int) -> Report:
    try:
        return REPORTS.decode(written)
    except MALFORMED:
        how = "was killed, as its time was over" if status else "ended"
        return Report(error=f"the child {how} without a report")
