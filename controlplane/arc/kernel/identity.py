"""Processes opened by identity: who has a pid now is never taken for who had it when the kernel told of it.

A pidfd's inode is the identity where it is never used twice (pidfs, Linux 6.9). Before, pid and start time
are; /proc tells the latter in steps of 10 ms, so for two that began within one the kernel keeps a table.
"""

import errno
import mmap
import os
import signal
from typing import Final

from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks

SLOTS: Final = 32768
"""ENDED of bpf/events.h."""


def pidfds_tell() -> bool:
    """Whether each process has a pidfd inode of its own here."""
    inodes = set()
    for pid in (1, os.getpid()):
        fd = os.pidfd_open(pid)
        inodes.add(os.fstat(fd).st_ino)
        os.close(fd)
    return len(inodes) > 1


class ByIdentity:
    """Opens processes."""

    def __init__(self, ended: int | None = None) -> None:
        """`ended`: the table of bpf/process.bpf.c, mapped where it is needed; None without a daemon."""
        self._starts: memoryview | None = None
        if ended is not None and not pidfds_tell():
            self._starts = memoryview(mmap.mmap(ended, SLOTS * 8, mmap.MAP_SHARED, mmap.PROT_READ)).cast("Q")

    def must_open(self, pid: int, start_ns: int, inode: int) -> int:
        """A pidfd of exactly that process; raises ProcessLookupError when it is gone or the pid another's.

        `inode` is the pidfd's own, 0 before Linux 6.9.
        """
        fd = os.pidfd_open(pid)
        try:
            same = os.fstat(fd).st_ino == inode if inode else self._must_be(pid, start_ns)
        except OSError:
            same = False
        if not same:
            os.close(fd)
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return fd

    def _must_be(self, pid: int, start_ns: int) -> bool:
        """Whether who has the pid began then. Who had it before has ended, and the table tells by now."""
        ticks = start_ns // TICK_NS
        if must_start_ticks(pid) != ticks:
            return False
        if self._starts is None:
            return True
        # Of those with this slot that have ended, the latest start. A later one in the same tick may have
        # overwritten this one's. One in a later tick says nothing; by then 32,768 pids have been handed out.
        last = self._starts[pid % SLOTS]
        return last < start_ns or last // TICK_NS != ticks

    def must_open_directory(self, pid: int, start_ns: int, inode: int) -> tuple[int, int]:
        """A pidfd and the /proc directory of exactly that process, which is its own for good.

        Raises OSError when it is gone.
        """
        pidfd = self.must_open(pid, start_ns, inode)
        try:
            return pidfd, _must_open_directory(pid, pidfd)
        except OSError:
            os.close(pidfd)
            raise


def _must_open_directory(pid: int, pidfd: int) -> int:
    directory = os.open(b"/proc/%d" % pid, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # It is still there, so nobody else had its pid when the directory was opened.
        signal.pidfd_send_signal(pidfd, 0)
    except OSError:
        os.close(directory)
        raise
    return directory
