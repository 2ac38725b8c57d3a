"""Walks the hot path before arming, so that the first reflex is as quick as the thousandth.

Made-up records go through a monitor, an engine and a journal of their own. The victims are this process,
which gets the signal 0, and a memory file in place of a control file.
"""

import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from controlplane.arc.feeling import Feeling
from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.control_files import ControlFiles, must_read_value, must_write_value
from controlplane.arc.kernel.events import EVENT, Event, EventKind
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.kernel.sensors import NUMBERS
from controlplane.arc.kernel.watched import Watched
from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.reflex.acts import Act, Freeze, KillProcess, Opened
from controlplane.arc.reflex.breaker import Breaker
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.guards import Confirmation, Guards, Loss
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.values import CgroupValues, Setting
from controlplane.arc.reflex.victims import Victim
from controlplane.arc.reflex.weights import must_weight
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import NS, Rate, Rule, Scope, Step

ROUNDS: Final = 40
"""The interpreter specialises code after some runs, and the allocator settles."""
SCRATCH_BYTES: Final = 256 * 1024
SIGNALS: Final = ("process.fork", "process.exec")
RULES: Final = (
    Rule(
        name="rehearse-freeze",
        signal="process.fork",
        scope=Scope(node=True),
        test=Rate(interval_ns=1, burst=0),
        ladder=(Step("reweigh", for_ns=1, amounts=(Amount("cpu", 1),)), Step("freeze", for_ns=1)),
        cooldown_ns=0,
        mode="enforce",
    ),
    Rule(
        name="rehearse-kill",
        signal="process.exec",
        per="process",
        scope=Scope(node=True),
        test=Rate(interval_ns=1, burst=0),
        ladder=(Step("kill"),),
        cooldown_ns=0,
        mode="enforce",
    ),
)


class _HeldFreeze(Freeze):
    """Reads and writes a file of this process in place of a cgroup's."""

    def __init__(self, cgroups: Cgroups, file: int) -> None:
        super().__init__(cgroups)
        self._file = file

    def must_open(self, victim: Victim, step: Step) -> Opened:
        return Opened((self._file,), (Change("cgroup.freeze", must_read_value(self._file), "1"),))

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        must_write_value(self._file, changes[0].before.encode())


class _Memory(ControlFiles):
    """A file of this process in place of any cgroup's."""

    def __init__(self, cgroups: Cgroups, file: int) -> None:
        super().__init__(cgroups, "", os.O_RDWR)
        self._file = file

    def must_get(self, cgroup: int) -> int:
        return self._file

    def open(self, cgroup: int) -> int:
        return self._file


class _HeldKill(KillProcess):
    def must_apply(self, opened: Opened) -> None:
        signal.pidfd_send_signal(opened.fds[0], 0)


class _Unprotected(Protection):
    def must_forbid(self, victim: Victim, rule: Rule) -> str:
        return ""


def rehearse(cgroups: Cgroups, watched: Watched, bookmaker: Bookmaker, journal: int) -> None:
    """`bookmaker` gets no records; `journal` is a directory where a journal may be made and removed."""
    os.mkdir("rehearsal", 0o700, dir_fd=journal)
    scratch = os.open("rehearsal", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=journal)
    try:
        _walk(cgroups, watched, bookmaker, scratch)
    finally:
        for name in os.listdir(scratch):
            os.unlink(name, dir_fd=scratch)
        os.close(scratch)
        os.rmdir("rehearsal", dir_fd=journal)
        watched.forget(os.getpid())


def _walk(cgroups: Cgroups, watched: Watched, bookmaker: Bookmaker, scratch: int) -> None:
    file, weight = os.memfd_create("rehearsal"), os.memfd_create("rehearsal")
    reaper = Reaper()
    settings = {"cpu": Setting("cpu.weight", must_weight)}
    files = {"cpu.weight": _Memory(cgroups, weight)}
    acts: dict[tuple[str, bool], Act] = {
        ("reweigh", False): CgroupValues("reweigh", cgroups, settings, files),
        ("freeze", False): _HeldFreeze(cgroups, file),
        ("kill", True): _HeldKill(ByIdentity(), watched, reaper),
    }
    monitor = Monitor(NUMBERS)
    monitor.set_rules(RULES)
    protection, breaker = _Unprotected(cgroups, ()), Breaker(2 * ROUNDS, NS)
    guards = Guards(protection, Confirmation(monitor.must_confirmed), Loss(lambda _signal: 0), breaker)
    journal = Journal(scratch, SCRATCH_BYTES, 2, os.getgid(), tuple)
    engine = Engine(acts, guards, journal, Holdings(), "enforce")
    engine.set_rules(RULES)
    feeling = Feeling(cgroups, monitor, engine, protection, bookmaker)
    pid = os.getpid()
    cgroup = cgroups.id_of(cgroups.of_process(pid) or "/")
    start_ns = must_start_ticks(pid) * TICK_NS
    pidfd = os.pidfd_open(pid)
    inode = os.fstat(pidfd).st_ino
    os.close(pidfd)
    for number in range(1, ROUNDS + 1):
        for signal_name in SIGNALS:
            now = time.monotonic_ns() + number * NS
            raw = EVENT.pack(
                *(now, 1, now, cgroup, cgroup, 0, start_ns, inode, pid, 1, 1, 0, 0),
                *(NUMBERS[signal_name], EventKind.SIGNAL, 0, b"rehearsal"),
            )
            feeling.must_feel(Event._make(EVENT.unpack_from(raw)))
        engine.run_due(engine.next_due())
        journal.tend()
    journal.close()
    os.close(file)
    os.close(weight)
    reaper.close()
