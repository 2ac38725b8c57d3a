"""What the plane logs about itself, into the arc's journal, and so to the disk and to the collector.

Bounded: of too many lines the first are told, and then how many more there were. The console, which hears
them at once, is another handler.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controlplane.link.frames import Diagnosed
from controlplane.link.records import MAX_TRACE, Said, Severity
from controlplane.plane.api.summary import MAX_SUMMARY, shortened
from controlplane.plane.arc import Arc

BURST: Final = 32
PER_S: Final = 2
"""Lines, on average."""
WINDOW_S: Final = 1.0
"""After so long it is told that there were more."""


class Diagnostics(logging.Handler):
    """A handler for the time of the link. Any thread may log; all else happens in the running event loop."""

    def __init__(self, arc: Arc, level: int) -> None:
        super().__init__(level)
        self._arc = arc
        self._loop = asyncio.get_running_loop()
        self._credit = float(BURST)
        self._counted = self._loop.time()
        self._missed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self._loop.call_soon_threadsafe(self._take, said(record))

    def _take(self, line: Said) -> None:
        now = self._loop.time()
        self._credit = min(BURST, self._credit + (now - self._counted) * PER_S)
        self._counted = now
        if self._credit >= 1 and not self._missed:
            self._credit -= 1
            self._tell(line)
            return
        if not self._missed:
            self._loop.call_later(WINDOW_S, self._tell_missed)
        self._missed += 1

    def _tell_missed(self) -> None:
        text = f"{self._missed} more lines of the plane's log: there were too many to journal"
        self._missed = 0
        self._tell(Said(severity="warn", logger=__name__, text=text))

    def _tell(self, line: Said) -> None:
        self._arc.tell(lambda number: Diagnosed(id=number, said=line))


@contextmanager
def journalled(diagnostics: Diagnostics) -> Iterator[None]:
    """Every line of the log while the block lasts."""
    root = logging.getLogger()
    root.addHandler(diagnostics)
    try:
        yield
    finally:
        root.removeHandler(diagnostics)


def said(record: logging.LogRecord) -> Said:
    """A line of the log in the link's words, cut to its lengths."""
    error = record.exc_info[1] if record.exc_info else None
    trace = logging.Formatter().formatException(record.exc_info) if error and record.exc_info else ""
    return Said(
        severity=severity(record.levelno),
        logger=shortened(safe(record.name)),
        text=shortened(safe(record.getMessage()), MAX_SUMMARY),
        error=shortened(type(error).__qualname__) if error else "",
        message=shortened(safe(str(error)), MAX_SUMMARY) if error else "",
        # The innermost calls come last.
        trace=safe(trace)[-MAX_TRACE:],
    )


def severity(level: int) -> Severity:
    """Of a level of `logging`."""
    if level >= logging.ERROR:
        return "error"
    if level >= logging.WARNING:
        return "warn"
    return "info" if level >= logging.INFO else "debug"


def safe(text: str) -> str:
    """What the link can carry: no lone surrogates, as names of files may have."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
