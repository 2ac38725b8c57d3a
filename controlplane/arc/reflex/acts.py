"""The acts: how each opens its victim, is done, confirmed and taken back. Nothing here decides or records.

`must_open` makes sure of the victim's identity and reads what the undo needs; everything raises OSError,
and a victim that is gone shows as ESTALE, ENOENT, ENODEV or ESRCH.
"""

import errno
import os
import signal
from typing import Final, NamedTuple, Protocol

from controlplane.arc.kernel.cgroups import Cgroups, must_read_file, must_write_file
from controlplane.arc.kernel.events import EventKind
from controlplane.arc.kernel.libbpf import Map
from controlplane.arc.kernel.processes import must_open_process
from controlplane.arc.reflex.victims import Victim
from controlplane.link.rules import ActName

GONE: Final = frozenset({errno.ESTALE, errno.ENOENT, errno.ENODEV, errno.ESRCH})

Effect = tuple[int, int, int]
"""(event kind, cgroup id or pid, event value): the kernel's event that confirms an act."""


class Opened(NamedTuple):
    """A victim held by descriptor, and the value before the act."""

    fd: int
    previous: str


class ForeignValueError(Exception):
    """Somebody else changed the value since the act: theirs is left."""


class Act(Protocol):
    """One kind of act on one kind of victim."""

    name: ActName
    irreversible: bool

    def must_open(self, victim: Victim) -> Opened:
        """Hold the victim; raises OSError when it is gone."""

    def must_apply(self, opened: Opened) -> None:
        """Do it; raises OSError."""

    def undo(self, victim: Victim, previous: str) -> None:
        """Take it back; raises OSError or ForeignValueError."""

    def must_effect(self, victim: Victim) -> Effect:
        """What will confirm it."""


class Freeze:
    """Every task of the cgroup stops (Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze)."""

    name: ActName = "freeze"
    irreversible = False

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups

    def must_open(self, victim: Victim) -> Opened:
        """See `Act`."""
        fd = self._cgroups.must_open(victim.cgroup)
        try:
            return Opened(fd, must_read_file(fd, "cgroup.freeze"))
        except OSError:
            os.close(fd)
            raise

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        must_write_file(opened.fd, "cgroup.freeze", b"1")

    def undo(self, victim: Victim, previous: str) -> None:
        """See `Act`."""
        fd = self._cgroups.must_open(victim.cgroup)
        try:
            if must_read_file(fd, "cgroup.freeze") != "1":
                raise ForeignValueError
            must_write_file(fd, "cgroup.freeze", previous.encode())
        finally:
            os.close(fd)

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return EventKind.FROZEN, victim.cgroup, 1


class KillCgroup:
    """SIGKILL to every process of the cgroup: cgroup.kill, before Linux 5.14 one by one under a freeze."""

    name: ActName = "kill"
    irreversible = True

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups

    def must_open(self, victim: Victim) -> Opened:
        """See `Act`."""
        return Opened(self._cgroups.must_open(victim.cgroup), "")

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        try:
            must_write_file(opened.fd, "cgroup.kill", b"1")
        except FileNotFoundError:
            _kill_one_by_one(opened.fd)

    def undo(self, victim: Victim, previous: str) -> None:
        """Nobody comes back."""

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return EventKind.POPULATED, victim.cgroup, 0


class KillProcess:
    """SIGKILL to one process through a pidfd."""

    name: ActName = "kill"
    irreversible = True

    def __init__(self, watched: Map) -> None:
        self._watched = watched

    def must_open(self, victim: Victim) -> Opened:
        """See `Act`. Has the kernel watch for the exit, so that it is seen however soon it comes."""
        fd = must_open_process(victim.pid, victim.start_ns)
        self._watched.must_update(victim.pid.to_bytes(4, "little"), victim.start_ns.to_bytes(8, "little"))
        return Opened(fd, "")

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        signal.pidfd_send_signal(opened.fd, signal.SIGKILL)

    def undo(self, victim: Victim, previous: str) -> None:
        """Nobody comes back."""

    def must_effect(self, victim: Victim) -> Effect:
        """See `Act`."""
        return EventKind.EXIT, victim.pid, victim.start_ns


def _kill_one_by_one(directory: int) -> None:
    """Frozen first, so that nobody forks away; a frozen task still dies of SIGKILL."""
    must_write_file(directory, "cgroup.freeze", b"1")
    for pid in must_read_file(directory, "cgroup.procs").split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    must_write_file(directory, "cgroup.freeze", b"0")
