"""Handshakes that failed: gRPC tells of them in its log alone, so that log is read.

The core writes it to standard error. That becomes a pipe, which never blocks the core, and what Python writes
goes on to where standard error was. Why a handshake failed is said there, not from where.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_FAILED: Final = re.compile(
    rb"Handshake failed with error SSL_ERROR_SSL: error:[^:]*:[^:]*:[^:]*:([^:]*): (.*)"
)
_INFO: Final = b"I"
"""First letter of a line that is there only because we want to know of handshakes."""
_NO_MORE: Final = b"Invalid certificate verification context"
_LONGEST: Final = 64 * 1024


def divert() -> int:
    """Standard error of the core into a pipe; the end to read. Before anything logs."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    kept = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    return reading


@contextmanager
def failed_handshakes(reading: int, failed: Callable[[str], None]) -> Iterator[None]:
    """Calls `failed` with the reason of each, from the running loop, while the block lasts.

    Those before were of our own making: the core tells of a failure before it answers the client.
    """
    with suppress(BlockingIOError):
        _Log(reading, lambda _: None).read()
    log = _Log(reading, failed)
    loop = asyncio.get_running_loop()
    loop.add_reader(reading, log.read)
    try:
        yield
    finally:
        loop.remove_reader(reading)


def reason_in(line: bytes) -> str | None:
    """Why a handshake failed, where a line of the core's log says that one did."""
    found = _FAILED.search(line)
    if found is None:
        return None
    reason = found[1].decode(errors="replace").replace("_", " ").lower()
    return reason if found[2].startswith(_NO_MORE) else f"{reason}, {found[2].decode(errors='replace')}"


class _Log:
    def __init__(self, reading: int, failed: Callable[[str], None]) -> None:
        self._reading = reading
        self._failed = failed
        self._begun = b""

    def read(self) -> None:
        *lines, self._begun = (self._begun + os.read(self._reading, _LONGEST)).split(b"\n")
        if len(self._begun) > _LONGEST:
            self._begun = b""
        for line in lines:
            reason = reason_in(line)
            if reason is not None:
                self._failed(reason)
            elif line[:1] != _INFO:
                sys.stderr.write(f"{line.decode(errors='replace')}\n")
