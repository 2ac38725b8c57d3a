"""What streams are kept by besides cgroups, and what people call those keys."""

import os
import socket
from typing import Final, assert_never

from controlplane.link.signals import Key

OPERATIONS: Final = {0: "read", 1: "write", 2: "flush", 3: "discard", 5: "secure-erase", 9: "write-zeroes"}
"""enum req_op, include/linux/blk_types.h."""


def device_key(major: int, minor: int, operation: int) -> int:
    """As bpf/block.bpf.c makes it: the kernel's own dev_t, then the operation."""
    return (major << 20 | minor) << 8 | operation


def label_of(kind: Key, key: int) -> str:
    """`8:0 write`, `cpu 3`, `eth0`."""
    match kind:
        case "device":
            device, operation = key >> 8, key & 0xFF
            return f"{device >> 20}:{device & 0xFFFFF} {OPERATIONS.get(operation, operation)}"
        case "cpu":
            return f"cpu {key}"
        case "interface":
            return _interface(key)
        case "cgroup":
            return str(key)
        case _:
            assert_never(kind)


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError as error:
        return f"interface {index} ({os.strerror(error.errno or 0)})"
