"""Awaiting one descriptor, whatever its number: select() takes none above 1023, and long runs open many."""

import select

MS_PER_SECOND = 1000


def readable(fd: int, seconds: float) -> bool:
    """Wait until it can be read, at most that long."""
    return _ready(fd, select.POLLIN, seconds)


def writable(fd: int) -> bool:
    """Whether it takes something now."""
    return _ready(fd, select.POLLOUT, 0)


def _ready(fd: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(seconds * MS_PER_SECOND))
