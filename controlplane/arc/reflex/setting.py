"""Several values set in one act: all of them or none, and taken back only where they are still ours.

A value is got and set by a descriptor and its name; what is behind them is the caller's.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence

from controlplane.arc.reflex.acts import ForeignValueError, Opened
from controlplane.link.records import Change

Get = Callable[[int, str], str]
Set = Callable[[int, str, str], None]


def must_set_all(opened: Opened, must_set: Set) -> None:
    """Set the values; raises OSError, and then those set so far are as they were found."""
    done = 0
    try:
        for fd, change in zip(opened.fds, opened.changes, strict=False):
            must_set(fd, change.what, change.after)
            done += 1
    except OSError:
        for fd, change in zip(opened.fds[:done], opened.changes, strict=False):
            with contextlib.suppress(OSError):
                must_set(fd, change.what, change.before)
        raise


def undo_all(fds: Iterable[int], changes: Sequence[Change], get: Get, put: Set) -> None:
    """Write back what was there before; raises ForeignValueError or OSError when all were tried."""
    failures: list[Exception] = []
    for fd, change in zip(fds, changes, strict=True):
        try:
            if get(fd, change.what) == change.after:
                put(fd, change.what, change.before)
            else:
                failures.append(ForeignValueError())
        except OSError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
