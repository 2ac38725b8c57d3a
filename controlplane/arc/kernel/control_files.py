"""One control file of many cgroups, opened ahead so that an act on it is a single write.

An open file belongs to that very cgroup for good: when the cgroup is gone, reads and writes fail
with ENODEV, whatever has its path by then.
"""

import os
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups

MAX_OPEN: Final = 1024
"""Descriptors kept for each control file; the ones opened longest ago are closed first."""


class ControlFiles:
    """`name` of each cgroup; `mode` is O_RDWR or O_WRONLY."""

    def __init__(self, cgroups: Cgroups, name: str, mode: int) -> None:
        self._cgroups = cgroups
        self._name = name
        self._mode = mode
        self._open: dict[int, int] = {}

    def must_get(self, cgroup: int) -> int:
        """A descriptor that stays open until `forget`; raises OSError when the cgroup is gone."""
        fd = self._open.get(cgroup)
        return self.open(cgroup) if fd is None else fd

    def prepare(self, cgroup: int) -> None:
        """Open it ahead, while there is room; raises OSError."""
        if len(self._open) < MAX_OPEN:
            self.open(cgroup)

    def open(self, cgroup: int) -> int:
        """Open it now; raises OSError."""
        if cgroup in self._open:
            return self._open[cgroup]
        directory = self._cgroups.must_open(cgroup)
        try:
            fd = os.open(self._name, self._mode | os.O_CLOEXEC, dir_fd=directory)
        finally:
            os.close(directory)
        if len(self._open) >= MAX_OPEN:
            self.forget(next(iter(self._open)))
        self._open[cgroup] = fd
        return fd

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone, or no rule acts on it any more."""
        fd = self._open.pop(cgroup, None)
        if fd is not None:
            os.close(fd)


def must_read_value(fd: int) -> str:
    """The value now, without the trailing newline; raises OSError."""
    return os.pread(fd, 4096, 0).decode().rstrip("\n")


def must_write_value(fd: int, value: bytes) -> None:
    """Write a value; raises OSError."""
    os.pwrite(fd, value, 0)
