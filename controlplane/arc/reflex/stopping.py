"""Freeze of one process: SIGSTOP through a pidfd, and SIGCONT as its undo."""

import errno
import os
import signal
from collections.abc import Sequence

from controlplane.arc.kernel.cgroups import must_read_file
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.reflex.acts import Effect, ForeignValueError, Opened
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step


class FreezeProcess:
    """All threads of the process stop. What it had been told to stop before stays stopped after the undo."""

    name: ActName = "freeze"
    irreversible = False

    def __init__(self, by_identity: ByIdentity) -> None:
        self._by_identity = by_identity

    def prepare(self, cgroup: int, step: Step) -> None:
        """There is nothing to prepare."""

    def forget(self, cgroup: int) -> None:
        """Nothing was prepared."""

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            before = must_stopped(directory)
        except OSError:
            os.close(pidfd)
            raise
        finally:
            os.close(directory)
        return Opened((pidfd,), (Change("stopped", before, "1"),))

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        signal.pidfd_send_signal(opened.fds[0], signal.SIGSTOP)

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        os.close(opened.fds[0])

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """See `Act`."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            if must_stopped(directory) == "0" and not _is_to_stop(directory):
                raise ForeignValueError
            if changes[0].before == "0":
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        finally:
            os.close(directory)
            os.close(pidfd)

    def must_effect(self, victim: Victim) -> Effect | None:
        """No event tells."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`. A process that runs elsewhere stops a little later."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            return must_stopped(directory) == "1"
        finally:
            os.close(directory)
            os.close(pidfd)


def must_stopped(directory: int) -> str:
    """1 or 0 for the process of a /proc directory; raises OSError when it is gone or dead."""
    stat = must_read_file(directory, "stat")
    state = stat[stat.rindex(")") + 2]
    if state in "ZX":
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return "1" if state == "T" else "0"


def _is_to_stop(directory: int) -> bool:
    """Told to stop, it has not come to it, as in a frozen cgroup: once thawed it would stop for good."""
    pending = must_read_file(directory, "status").partition("ShdPnd:")[2].split(maxsplit=1)[0]
    return bool(int(pending, 16) >> signal.SIGSTOP - 1 & 1)
