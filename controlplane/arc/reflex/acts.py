"""The acts: how each opens its victim, is done, confirmed and taken back. Nothing here decides or records.

`must_open` makes sure of the victim's identity and reads what the undo needs; everything raises OSError,
and a victim that is gone shows as ESTALE, ENOENT, ENODEV or ESRCH.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from controlplane.arc.kernel.cgroups import Cgroups, must_read_file, must_write_file
from controlplane.arc.kernel.control_files import ControlFiles, must_read_value, must_write_value
from controlplane.arc.kernel.events import EventKind
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.kernel.watched import Watched
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step

GONE: Final = frozenset({errno.ESTALE, errno.ENOENT, errno.ENODEV, errno.ESRCH})

Effect = tuple[int, int, int]
"""(event kind, cgroup id or pid, event value or start time): the kernel's event that confirms an act."""

FROZEN: Final = int(EventKind.FROZEN)
POPULATED: Final = int(EventKind.POPULATED)
EXIT: Final = int(EventKind.EXIT)


BATCH: Final = 256
"""Processes that are held open at a time."""


class Opened(NamedTuple):
    """A victim held by descriptors, and what the act is to change."""

    fds: tuple[int, ...]
    changes: tuple[Change, ...] = ()
    one_by_one: bool = False
    """This kernel has no cgroup.kill."""
    gentle: bool = False
    """SIGTERM, after which there is some time."""
    message: bytes = b""
    """What is sent, where an act sends something."""
    namespace: int = 0
    """Into which network namespace."""


class ForeignValueError(Exception):
    """Somebody else changed the value since the act: theirs is left."""


class AbsentError(Exception):
    """The kernel has no such control for this victim; `detail` says which."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Act(Protocol):
    """One kind of act on one kind of victim."""

    name: ActName
    irreversible: bool

    def prepare(self, cgroup: int, step: Step) -> None:
        """Ahead of any finding: do what `must_open` would else do first; raises OSError."""

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """Hold the victim; raises OSError when it is gone, AbsentError when the act cannot be done on it."""

    def must_apply(self, opened: Opened) -> None:
        """Do it, all of it or nothing; raises OSError."""

    def must_release(self, opened: Opened) -> None:
        """Let go of the victim."""

    def undo(self, victim: Victim, changes: Sequence[Change]) -> str | None:
        """Take these changes back; what there is to say of it. Raises OSError or ForeignValueError."""

    def must_effect(self, victim: Victim) -> Effect | None:
        """What will confirm it; None where no event does, and `must_have` is to be asked."""

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """Whether the kernel, asked, has the values that were to be set; raises OSError."""


class Freeze:
    """Every task of the cgroup stops (Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze)."""

    name: ActName = "freeze"
    irreversible = False

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._files = ControlFiles(cgroups, "cgroup.freeze", os.O_RDWR)

    def prepare(self, cgroup: int, step: Step) -> None:
        """See `Act`."""
        self._files.prepare(cgroup)

    def forget(self, cgroup: int) -> None:
        """See `Act`."""
        self._files.forget(cgroup)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        fd = self._files.must_get(victim.cgroup)
        return Opened((fd,), (Change("cgroup.freeze", must_read_value(fd), "1"),))

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        must_write_value(opened.fds[0], b"1")

    def must_release(self, opened: Opened) -> None:
        """Stays open for the undo."""

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """See `Act`."""
        fd = self._files.open(victim.cgroup)
        if must_read_value(fd) != "1":
            raise ForeignValueError
        must_write_value(fd, changes[0].before.encode())

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return FROZEN, victim.cgroup, 1

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`. Asked only where the kernel has not told."""
        return must_be_so(self._cgroups, victim.cgroup, "frozen 1")


class KillCgroup:
    """SIGKILL to every process of the cgroup: cgroup.kill, before Linux 5.14 one by one under a freeze.

    With grace, SIGTERM to each; the engine comes again when it is over.
    """

    name: ActName = "kill"
    irreversible = True

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._files = ControlFiles(cgroups, "cgroup.kill", os.O_WRONLY)

    def prepare(self, cgroup: int, step: Step) -> None:
        """See `Act`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.prepare(cgroup)

    def forget(self, cgroup: int) -> None:
        """See `Act`."""
        self._files.forget(cgroup)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`. Without cgroup.kill the directory is held instead, and nothing of it stays open."""
        if step.grace_ns:
            return Opened((self._cgroups.must_open(victim.cgroup),), gentle=True)
        try:
            return Opened((self._files.must_get(victim.cgroup),))
        except FileNotFoundError:
            return Opened((self._cgroups.must_open(victim.cgroup),), one_by_one=True)

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        if opened.gentle:
            _terminate(opened.fds[0])
        elif opened.one_by_one:
            _kill_one_by_one(opened.fds[0])
        else:
            must_write_value(opened.fds[0], b"1")

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        if opened.one_by_one or opened.gentle:
            os.close(opened.fds[0])

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """Nobody comes back."""

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return POPULATED, victim.cgroup, 0

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`. Asked only where the kernel has not told."""
        return must_be_so(self._cgroups, victim.cgroup, "populated 0")


class KillProcess:
    """SIGKILL, with grace first SIGTERM, to one process through a pidfd."""

    name: ActName = "kill"
    irreversible = True

    def __init__(self, by_identity: ByIdentity, watched: Watched, reaper: Reaper) -> None:
        self._by_identity = by_identity
        self._watched = watched
        self._reaper = reaper

    def prepare(self, cgroup: int, step: Step) -> None:
        """There is nothing to prepare."""

    def forget(self, cgroup: int) -> None:
        """Nothing was prepared."""

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`. Has the kernel watch for the exit, so that it is seen however soon it comes."""
        fd = self._by_identity.must_open(victim.pid, victim.start_ns, victim.inode)
        self._watched.must_watch(victim.pid, victim.start_ns)
        return Opened((fd,), gentle=step.grace_ns > 0)

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        signal.pidfd_send_signal(opened.fds[0], signal.SIGTERM if opened.gentle else signal.SIGKILL)

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        if opened.gentle:
            os.close(opened.fds[0])
        else:
            self._reaper.must_add(opened.fds[0])

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """Nobody comes back."""

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return EXIT, victim.pid, victim.start_ns

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`. Asked only where the kernel has not told: one that is gone cannot be opened."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            stat = must_read_file(directory, "stat")
        finally:
            os.close(directory)
            os.close(pidfd)
        return stat[stat.rindex(")") + 2] in "ZX"


def must_be_so(cgroups: Cgroups, cgroup: int, line: str) -> bool:
    """Whether cgroup.events has this line; raises OSError when the cgroup is gone."""
    directory = cgroups.must_open(cgroup)
    try:
        return line in must_read_file(directory, "cgroup.events")
    finally:
        os.close(directory)


def _kill_one_by_one(directory: int) -> None:
    """Frozen first, so that nobody forks away for long; a frozen task still dies of SIGKILL."""
    must_write_file(directory, "cgroup.freeze", b"1")
    killed: set[int] = set()
    # A task that was amid a fork when it was to freeze has left a child that is not on the list.
    while left := _processes_below(directory) - killed:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= left
    must_write_file(directory, "cgroup.freeze", b"0")


def _terminate(directory: int) -> None:
    """SIGTERM to each process; one that is forked meanwhile is left to the end of the grace."""
    pids = sorted(_processes_below(directory))
    for begin in range(0, len(pids), BATCH):
        _terminate_some(directory, pids[begin : begin + BATCH])


def _terminate_some(directory: int, pids: Sequence[int]) -> None:
    held: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            held[pid] = os.pidfd_open(pid)
    # Whoever is still on the list is of the cgroup, even if a pid was given anew in between.
    there = _processes_below(directory)
    for pid, pidfd in held.items():
        if pid in there:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        os.close(pidfd)


def _processes_below(directory: int) -> set[int]:
    """Of a cgroup and its descendants."""
    found: set[int] = set()
    for _, _, _, below in os.fwalk(".", dir_fd=directory):
        # The kernel hands out a page a read.
        with open("cgroup.procs", opener=lambda name, flags: os.open(name, flags, dir_fd=below)) as procs:  # noqa: B023
            found.update(map(int, procs))
    return found
