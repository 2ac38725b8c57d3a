"""The BPF ring buffer, read in place through a memory map.

Sound where loads are not reordered with loads nor stores with earlier loads (x86-64); elsewhere
`open_ring` takes libbpf's own consumer, which has the barriers.
"""

import mmap
import os
from collections.abc import Callable
from typing import Final, Protocol

from controlplane.arc.kernel.events import EVENT, Event
from controlplane.arc.kernel.libbpf_ring import LibbpfRing

HEADER: Final = 8
BUSY: Final = 1 << 31
DISCARD: Final = 1 << 30
LENGTH: Final = DISCARD - 1
TURN: Final = 4096
"""Records handled before the loop looks at its other descriptors."""

Handler = Callable[[Event], None]


class Ring(Protocol):
    """Where events come from."""

    fd: int

    def must_drain(self, handle: Handler) -> int:
        """Hand on what is there, at most about `TURN` records; how many it was."""


class MappedRing:
    """Consumer and producer pages as described in kernel/bpf/ringbuf.c."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self.fd = fd
        self._mask = size - 1
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The kernel maps the data twice in a row, so that a record that wraps is in one piece; no record
        # is longer than a page.
        length = page + size + page
        self._producer_map = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        produced = memoryview(self._producer_map)
        self._producer = produced[:page].cast("Q")
        self._data = produced[page:]
        self._words = self._data.cast("I")

    def must_drain(self, handle: Handler) -> int:
        """See `Ring`. The position is given back record by record, so the kernel sees room early."""
        consumer, words, data, mask = self._consumer, self._words, self._data, self._mask
        unpack, make = EVENT.unpack_from, tuple.__new__
        position = consumer[0]
        taken = 0
        while taken < TURN and position < self._producer[0]:
            offset = position & mask
            length = words[offset >> 2]
            if length & BUSY:
                break
            if not length & DISCARD:
                handle(make(Event, unpack(data, offset + HEADER)))
                taken += 1
            position += (length & LENGTH) + HEADER + 7 & ~7
            consumer[0] = position
        return taken


def open_ring(fd: int, size: int) -> Ring:
    """The reader that is sound on this machine; `size` is the map's max_entries in bytes."""
    if os.uname().machine == "x86_64":
        return MappedRing(fd, size)
    return LibbpfRing(fd)
