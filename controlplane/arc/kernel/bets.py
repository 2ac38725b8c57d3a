"""The bets of streams and the odds they are made at: two maps shared by memory with the kernel.

`odds` are written here alone and `bets` by the kernel alone, so neither ever waits for the other, and a
summary costs no system call.
"""

import mmap
from typing import Final

from controlplane.arc.kernel.events import BET, ODDS, Bet
from controlplane.arc.kernel.libbpf import Map

SLOTS: Final = 10240
"""BET_SLOTS of bpf/events.h; slot 0 is nobody's."""


class Bets:
    """Slots by number, as records of the kernel name them."""

    def __init__(self, odds_fd: int, bets_fd: int, free: Map) -> None:
        self._odds = mmap.mmap(odds_fd, _pages(SLOTS * ODDS.size))
        self._bets = mmap.mmap(bets_fd, _pages(SLOTS * BET.size), prot=mmap.PROT_READ)
        self._free = free
        self._opened = False

    def open(self) -> None:
        """Hand all slots to the kernel, once: from now on streams are given theirs."""
        if not self._opened:
            self._opened = True
            for slot in range(SLOTS - 1, 0, -1):
                self._free.push(slot.to_bytes(4, "little"))

    def must_read(self, slot: int) -> Bet:
        """What the kernel has counted; raises IndexError for a slot that is none."""
        if not 0 < slot < SLOTS:
            raise IndexError(slot)
        return Bet._make(BET.unpack_from(self._bets, slot * BET.size))

    def must_set(
        self, slot: int, key: int, threshold: int, over: int, most: int, half: int, due: int, scores: bytes
    ) -> None:
        """See struct odds."""
        ODDS.pack_into(self._odds, slot * ODDS.size, threshold, over, most, half, due, scores, key)

    def close(self) -> None:
        """Unmap."""
        self._odds.close()
        self._bets.close()


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
