"""Instructions of BPF that a kernel may not know, tried out by loading a program that has them."""

import ctypes
import functools
import os
from typing import Final

from controlplane.arc.kernel.libbpf import declare

SOCKET_FILTER: Final = 1
FETCH: Final = bytes.fromhex(
    "b702000001000000"  # r2 = 1
    "7b2af8ff00000000"  # *(u64 *)(r10 - 8) = r2
    "c32af8ff01000000"  # r2 = atomic_fetch_add((u32 *)(r10 - 8), r2)
    "b700000000000000"  # r0 = 0
    "9500000000000000"  # exit
)

_prog_load = declare(
    "bpf_prog_load",
    ctypes.c_int,
    *(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p),
)


@functools.cache
def has_fetch() -> bool:
    """Whether this kernel knows atomic_fetch_add (Linux 5.12, 5ca419f2864a)."""
    fd: int = _prog_load(SOCKET_FILTER, b"fetch", b"GPL", FETCH, len(FETCH) // 8, None)
    if fd >= 0:
        os.close(fd)
    return fd >= 0
