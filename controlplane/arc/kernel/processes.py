"""Processes as /proc has them, with the time of their start in its steps. `identity` opens them."""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Resolution of a start time in /proc."""
_STARTTIME: Final = 19
"""Field 22 of /proc/pid/stat, counted from the one after the command name."""


class Process(NamedTuple):
    """A process as /proc has it."""

    pid: int
    comm: str
    start_ticks: int
    kernel_thread: bool


def must_start_ticks(pid: int) -> int:
    """Start time since boot, in clock ticks; raises OSError when there is no such process."""
    fd = os.open(b"/proc/%d/stat" % pid, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 1024)
    finally:
        os.close(fd)
    return int(text[text.rindex(b")") + 2 :].split(b" ", _STARTTIME + 1)[_STARTTIME])


def processes() -> Iterator[Process]:
    """Every process that exists now."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
        except OSError:
            continue
        comm, _, rest = text.partition(b"(")[2].rpartition(b")")
        fields = rest.split()
        yield Process(
            int(name),
            comm.decode(errors="replace"),
            int(fields[_STARTTIME]),
            bool(int(fields[6]) & 0x00200000),
        )
