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


CHUNK: Final = 256
"""Slots that are mapped at a time, whole pages; what is mapped of such a map is resident."""


class Bets:
    """Slots by number, as records of the kernel name them."""

    def __init__(self, odds_fd: int, bets_fd: int, free: Map) -> None:
        self._odds = _Chunks(odds_fd, ODDS.size, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bets = _Chunks(bets_fd, BET.size, mmap.PROT_READ)
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
        return Bet._make(BET.unpack_from(*self._bets.must_find(slot)))

    def must_set(
        self, slot: int, key: int, threshold: int, over: int, most: int, half: int, due: int, scores: bytes
    ) -> None:
        """See struct odds."""
        ODDS.pack_into(*self._odds.must_find(slot), threshold, over, most, half, due, scores, key)

    def close(self) -> None:
        """Unmap."""
        self._odds.close()
        self._bets.close()


class _Chunks:
    """An array map, mapped as far as it is used. The kernel hands out low numbers first."""

    def __init__(self, fd: int, size: int, access: int) -> None:
        self._fd, self._size, self._access = fd, size, access
        self._chunks: dict[int, mmap.mmap] = {}

    def must_find(self, slot: int) -> tuple[mmap.mmap, int]:
        """Memory, and where the slot lies in it."""
        number, within = divmod(slot, CHUNK)
        return self._chunks.get(number) or self.map(number), within * self._size

    def map(self, number: int) -> mmap.mmap:
        """A chunk in which a slot is used for the first time."""
        length = CHUNK * self._size
        chunk = mmap.mmap(self._fd, length, prot=self._access, offset=number * length)
        self._chunks[number] = chunk
        return chunk

    def close(self) -> None:
        """Unmap."""
        for chunk in self._chunks.values():
            chunk.close()
