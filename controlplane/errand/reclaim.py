"""memory.reclaim of a cgroup: the write returns when so much was reclaimed, or when no more can be had."""

import errno
import os
from typing import Final

from controlplane.errand.alarm import LateError
from controlplane.link.errands import VICTIM_FD, Reclaim, Report

WHOLE: Final = 10_000
"""Hundredths of a percent."""
RECLAIM_FD: Final = VICTIM_FD
CURRENT_FD: Final = VICTIM_FD + 1


def reclaim(errand: Reclaim) -> Report:
    """Write it, and tell memory.current before and after (Documentation/admin-guide/cgroup-v2.rst)."""
    before = _current()
    wanted = before * errand.number // WHOLE if errand.way else errand.number
    error = _write(wanted)
    after = _current()
    detail = f"memory.current {before} -> {after}, asked for {wanted}"
    # Less than was asked for, and yet something.
    if error == os.strerror(errno.EAGAIN) and after < before:
        error = ""
    return Report(error=error, detail=detail, in_effect=after < before)


def _write(wanted: int) -> str:
    try:
        os.write(RECLAIM_FD, b"%d" % wanted)
    except LateError:
        return "out of time"
    except OSError as failure:
        return failure.strerror or "failed"
    return ""


def _current() -> int:
    return int(os.pread(CURRENT_FD, 32, 0))
