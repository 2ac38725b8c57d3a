"""Makes the process hard to delay: FIFO scheduling, locked memory, frozen garbage collector, low OOM score.

Each is tried and reported; none is needed to work.
"""

import ctypes
import gc
import os
from typing import Final

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
"""Lock pages as they are touched: what is never used does not become resident."""
PRIORITY: Final = 50
"""Above ordinary tasks, below the kernel's own threaded interrupts' neighbours (50 is their default)."""
OOM_SCORE: Final = -900


def become_realtime() -> list[str]:
    """What could not be had, each with the reason."""
    missing = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as error:
        missing.append(f"SCHED_FIFO: {error.strerror}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        missing.append(f"mlockall: {os.strerror(ctypes.get_errno())}")
    return missing


def lower_oom_score() -> str:
    """Why it could not be lowered; empty when it was."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(OOM_SCORE))
    except OSError as error:
        return f"oom_score_adj: {error.strerror}"
    return ""


def freeze_heap() -> None:
    """After start-up: everything made so far is permanent; hand freed pages back; collect no more.

    The hot path makes no reference cycles, which a test holds.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    ctypes.CDLL(None).malloc_trim(0)
