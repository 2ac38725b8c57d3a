"""A block device of the test's own: a loop device over memory, so nothing is written to a disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

SIZE: Final = 64 * 1024 * 1024
CONTROL: Final = "/dev/loop-control"
LOOP_CTL_GET_FREE: Final = 0x4C82
LOOP_SET_FD: Final = 0x4C00
LOOP_CLR_FD: Final = 0x4C01
"""include/uapi/linux/loop.h."""
TRIES: Final = 20


class LoopDevice(NamedTuple):
    """A path, the device's numbers, and the memory file behind it."""

    path: str
    major: int
    minor: int
    memory: int


@contextmanager
def loop_device() -> Iterator[LoopDevice]:
    """Attached while the block lasts. Skips the test where there are no loop devices."""
    if not Path(CONTROL).exists():
        pytest.skip(f"{CONTROL} is missing: no loop devices")
    memory = os.memfd_create("disk", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, SIZE)
    device, number = _attach(memory)
    numbers = os.fstat(device).st_rdev
    try:
        yield LoopDevice(f"/dev/loop{number}", os.major(numbers), os.minor(numbers), memory)
    finally:
        fcntl.ioctl(device, LOOP_CLR_FD)
        os.close(device)
        os.close(memory)


def _attach(memory: int) -> tuple[int, int]:
    """Between asking for a free one and taking it, somebody else may take it."""
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(TRIES):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, LOOP_SET_FD, memory)
            except OSError:
                os.close(device)
            else:
                return device, number
    finally:
        os.close(control)
    pytest.fail("no loop device could be had")
