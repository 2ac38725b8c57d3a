"""The memory of a killed process, freed by whoever killed it: process_mrelease (Linux 5.15).

The killed one frees it itself as soon as it runs, which on a machine short of CPU or disk may take long.
"""

import ctypes
import os
from collections import deque
from typing import Final

MAX_DYING: Final = 64
SYSCALL: Final = 448
"""process_mrelease, on every architecture."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class Reaper:
    """pidfds of processes that were killed, until their memory was asked for."""

    def __init__(self) -> None:
        self._dying: deque[int] = deque()
        self.released = 0
        self.failed = 0
        """Mostly of those whose memory was free by then."""

    def must_add(self, pidfd: int) -> None:
        """Take over a descriptor; of very many the oldest are left to themselves."""
        self._dying.append(pidfd)
        if len(self._dying) > MAX_DYING:
            os.close(self._dying.popleft())

    def tend(self) -> None:
        """After the acts of a wake-up, as it takes as long as the process is large."""
        while self._dying:
            pidfd = self._dying.popleft()
            if _syscall(SYSCALL, pidfd, 0) == 0:
                self.released += 1
            else:
                self.failed += 1
            os.close(pidfd)

    def tallied(self) -> dict[str, int]:
        """By what came of it, in the words of steps of a ladder."""
        found = {"release/done": self.released, "release/failed": self.failed}
        return {name: count for name, count in found.items() if count}

    def close(self) -> None:
        """Let go of them."""
        while self._dying:
            os.close(self._dying.popleft())
