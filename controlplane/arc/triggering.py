"""Acts that the plane asks for by hand: whom they mean, and whether that makes sense. Trusts nothing of it.

A cgroup is named by its path below the mount, and must then be that cgroup by its id; a process by its pid
and, if given, the time of its start.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.events import EventKind
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.loop import Loop
from controlplane.arc.reflex.by_hand import ByHand, Trace
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.evidence import comm_of
from controlplane.arc.reflex.plans import Acts
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.victims import Victim
from controlplane.link.faults import step_faults
from controlplane.link.frames import Refused, Result, Trigger, Triggered
from controlplane.link.rules import Step

MAX_PATH: Final = 4096
MAX_PID: Final = 1 << 22
TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8
MAX_ACTS: Final = 32
WINDOW_NS: Final = 1_000_000_000
"""So many acts in a second at most: a plane gone wild must not push reflexes out of the journal."""
NOT_BY_HAND: Final = {
    "observe": "there is nothing to do",
    "hook": "programs are named by policy files, and run for their policies alone",
}


class Triggering:
    """Answers `Trigger`."""

    def __init__(
        self,
        cgroups: Cgroups,
        acts: Acts,
        protection: Protection,
        engine: Engine,
        loop: Loop,
        foretell: Callable[[Step], None],
    ) -> None:
        """`foretell` has ready what a step needs that no rule has."""
        self._foretell = foretell
        self._cgroups = cgroups
        self._by_hand = ByHand(acts, protection, engine)
        self._engine = engine
        self._loop = loop
        self._times: deque[int] = deque(maxlen=MAX_ACTS)
        """Of the last acts."""

    def answer(self, command: Trigger) -> Result:
        """Say what would be done, or do it. Reclaim and evidence have only begun then."""
        if found := list(problems(command)):
            return Refused("invalid", "; ".join(found))
        victim = self._process(command) if command.pid else self._cgroup(command.path)
        if victim is None:
            who = f"process {command.pid}" if command.pid else f"cgroup {command.path}"
            return Refused("not_found", f"there is no {who}")
        step = command.step
        self._foretell(step)
        changes, guard, detail = self._by_hand.preview(victim, step)
        if guard is not None and not command.dry_run:
            why = f": {detail}" if detail else ""
            return Refused("forbidden", f"{step.act} is forbidden by the guard {guard}{why}")
        trace_id = b""
        if not command.dry_run:
            if not self._admits(time.monotonic_ns()):
                return Refused("busy", "too many acts by hand at once", "try again in a second")
            trace_id = command.trace_id or os.urandom(TRACE_BYTES)
            self._watch(victim, step.act)
            parent_id = command.parent_id or os.urandom(SPAN_BYTES)
            self._by_hand.act(victim, step, command.actor, Trace(trace_id, parent_id, command.trace_flags))
        return Triggered(
            trace_id=trace_id,
            cgroup=victim.cgroup,
            path=victim.path,
            pid=victim.pid,
            comm=victim.comm,
            changes=changes,
            guard=guard or "",
            detail=detail,
        )

    def _admits(self, now_ns: int) -> bool:
        if len(self._times) == MAX_ACTS and now_ns - self._times[0] < WINDOW_NS:
            return False
        self._times.append(now_ns)
        return True

    def _cgroup(self, path: str) -> Victim | None:
        try:
            cgroup = self._cgroups.id_of(path)
        except OSError:
            return None
        # By its id it must lie where the path said.
        return Victim(cgroup, path) if self._cgroups.path_of(cgroup) == path else None

    def _process(self, command: Trigger) -> Victim | None:
        pid = command.pid
        path = self._cgroups.of_process(pid)
        try:
            start_ns = must_start_ticks(pid) * TICK_NS
            cgroup = self._cgroups.id_of(path or "/")
        except OSError:
            return None
        if path is None or (command.start_ns and command.start_ns // TICK_NS * TICK_NS != start_ns):
            return None
        return Victim(cgroup, path, pid, start_ns, comm_of(pid))

    def _watch(self, victim: Victim, act: str) -> None:
        """The kernel's own event of an exit wants the start to the nanosecond, which /proc does not tell."""
        if act != "kill" or not victim.pid:
            return
        try:
            fd = ByIdentity().must_open(victim.pid, victim.start_ns, 0)
        except ProcessLookupError:
            return

        def exited() -> None:
            self._loop.remove(fd)
            os.close(fd)
            self._engine.must_confirm(EventKind.EXIT, victim.pid, victim.start_ns, time.monotonic_ns())

        self._loop.add(fd, exited)


def problems(command: Trigger) -> Iterator[str]:
    """What makes no sense in it, whoever sent it."""
    step = command.step
    if reason := NOT_BY_HAND.get(step.act):
        yield f"{step.act} is not for the hand: {reason}"
    for fault in step_faults("act", step, process=command.pid != 0):
        yield f"{fault.at}: {fault.message}"
    if step.after_ns:
        yield "act.after: by hand it is now"
    if bool(command.path) == bool(command.pid):
        yield "name a cgroup or a process"
    if command.pid and not 0 < command.pid <= MAX_PID:
        yield "pid: is not one"
    if command.path and not is_path(command.path):
        yield "path: must be that of a cgroup below the mount, as /system.slice/cron.service"
    if len(command.trace_id) not in (0, TRACE_BYTES) or len(command.parent_id) not in (0, SPAN_BYTES):
        yield "trace: is none"


def is_path(path: str) -> bool:
    """It leads nowhere but down."""
    parts = path.removeprefix("/").split("/")
    plain = len(path) <= MAX_PATH and "\0" not in path and path.startswith("/")
    return plain and not any(part in ("", ".", "..") for part in parts)
