"""The user's own signals on their way to the other processes: a memory file, inherited by descriptor."""

import os
from collections.abc import Iterable

import msgspec

from controlplane.link.signals import Known, Signal, known_with


def write_signals(signals: Iterable[Signal]) -> int:
    """The user's own signals in a memory file, for the other processes; its descriptor."""
    fd = os.memfd_create("signals")
    os.write(fd, msgspec.msgpack.encode(tuple(signals)))
    return fd


def read_signals(fd: int) -> Known:
    """All signals, with those of such a file; -1: there is none."""
    written = os.pread(fd, os.fstat(fd).st_size, 0) if fd >= 0 else b"\x90"
    return known_with(msgspec.msgpack.decode(written, type=tuple[Signal, ...]))
