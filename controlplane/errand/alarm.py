"""The time an errand has, kept by the kernel: when it is over, what is being done stops with LateError."""

import signal
from types import FrameType
from typing import Final, Never

NS: Final = 1_000_000_000


class LateError(Exception):
    """Time is over. No OSError, for those are what reading the kernel's files brings about."""


def arm(timeout_ns: int) -> None:
    """From now on."""
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, timeout_ns / NS)


def disarm() -> None:
    """What comes now takes as long as it takes."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _late(_number: int, _frame: FrameType | None) -> Never:
    raise LateError
