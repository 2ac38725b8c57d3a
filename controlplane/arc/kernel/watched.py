"""Processes whose end the kernel is to tell of: a map shared by memory, so asking costs no system call."""

import mmap
from typing import Final

SLOTS: Final = 4096
"""WATCHED of bpf/events.h."""


class Watched:
    """Start times by pid modulo the size, as bpf/process.bpf.c reads them."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SLOTS * 8, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._starts = memoryview(self._map).cast("Q")

    def must_watch(self, pid: int, start_ns: int) -> None:
        """Have the exit of that process told. Another one that shares its slot is forgotten."""
        self._starts[pid % SLOTS] = start_ns

    def forget(self, pid: int) -> None:
        """Its end is not awaited any more."""
        self._starts[pid % SLOTS] = 0

    def is_watched(self, pid: int, start_ns: int) -> bool:
        """Whether its end has not been told yet."""
        return self._starts[pid % SLOTS] == start_ns
