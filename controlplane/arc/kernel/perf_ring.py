"""Perf ring buffers, one for each CPU, read by libbpf: for kernels before 5.8, without a BPF ring buffer."""

import ctypes
import errno
import mmap
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from controlplane.arc.kernel.events import EVENT, Event
from controlplane.arc.kernel.libbpf import LibbpfError, declare, possible_cpus

_SAMPLE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
_LOST = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64)
_new = declare(
    "perf_buffer__new",
    ctypes.c_void_p,
    *(ctypes.c_int, ctypes.c_size_t, _SAMPLE, _LOST, ctypes.c_void_p, ctypes.c_void_p),
)
_epoll_fd = declare("perf_buffer__epoll_fd", ctypes.c_int, ctypes.c_void_p)
_consume = declare("perf_buffer__consume", ctypes.c_int, ctypes.c_void_p)
_free = declare("perf_buffer__free", None, ctypes.c_void_p)

MIN_PAGES: Final = 8
_by_time = attrgetter("time_ns")


def pages_for(ring_bytes: int, cpus: int) -> int:
    """Pages of each CPU's ring so that all together have about `ring_bytes`: a power of two."""
    pages = ring_bytes // mmap.PAGESIZE // cpus
    return max(MIN_PAGES, 1 << pages.bit_length() - 1 if pages else 0)


class PerfRing:
    """See `ring.Ring`. There is a ring for each CPU; what is there is handed on in the order of time."""

    def __init__(self, fd: int, ring_bytes: int) -> None:
        self.lost = 0
        """Records for which a ring had no room; the sensors' own counters have them, too."""
        self._found: list[Event] = []
        # Kept for as long as libbpf calls them.
        self._callbacks = _SAMPLE(self._must_take), _LOST(self._must_lose)
        pages = pages_for(ring_bytes, possible_cpus())
        self._buffer = _new(fd, pages, *self._callbacks, None, None)
        if not self._buffer:
            raise LibbpfError(ctypes.get_errno() or errno.EINVAL, "perf_buffer__new")
        self.fd: int = _epoll_fd(self._buffer)

    def _must_take(self, _context: int, _cpu: int, data: int, size: int) -> None:
        # A perf record is padded to eight bytes, so it may be longer than the event.
        if size >= EVENT.size:
            self._found.append(Event._make(EVENT.unpack(ctypes.string_at(data, EVENT.size))))

    def _must_lose(self, _context: int, _cpu: int, count: int) -> None:
        self.lost += count

    def must_drain(self, handle: Callable[[Event], None]) -> int:
        """Everything that is there."""
        _consume(self._buffer)
        found = self._found
        found.sort(key=_by_time)
        for event in found:
            handle(event)
        taken = len(found)
        found.clear()
        return taken

    def close(self) -> None:
        """Unmap the rings."""
        _free(self._buffer)
