"""Where story and diagnostics are told on this machine: a terminal, a file, systemd's journal.

Best effort, unlike the export: whoever does not read holds up nobody, and lines without room are counted.
"""

import logging
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from opentelemetry._logs import LogRecord

from controlplane.link.config import Config
from controlplane.plane.diagnostics import said
from controlplane.plane.journal import Stored
from controlplane.plane.telemetry import events, forms
from controlplane.plane.telemetry.describe import Severity, describe_said
from controlplane.plane.telemetry.logs import Logs

MAX_WAITING: Final = 1024
LINES_A_SECOND: Final = 50
BURST: Final = 500
"""Of the story, for people; what is more is counted, and there is `history`."""
CLOSE_S: Final = 0.5
"""Longest wait for a reader at the end."""
JOURNALD: Final = "/run/systemd/journal/socket"
_LEVELS: Final[dict[Severity, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class Outlet:
    """Writes to a descriptor from a thread of its own, each piece with one call."""

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        """Pieces for which there was no room, or no reader."""
        self._descriptor = descriptor
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def offer(self, piece: bytes) -> None:
        """Takes it, unless too many wait."""
        if self._waiting.qsize() >= MAX_WAITING:
            self.dropped += 1
        else:
            self._waiting.put(piece)

    def close(self) -> None:
        """Lets what waits go out, as far as somebody reads."""
        self._waiting.put(b"")
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while piece := self._waiting.get():
            try:
                _write(self._descriptor, piece)
            except OSError:
                self.dropped += 1


class Console(logging.Handler):
    """Tells journal records and what the plane logs, in one form, from one level on."""

    def __init__(
        self,
        form: forms.Form,
        outlet: Outlet,
        logs: Logs,
        level: Severity,
        *,
        for_people: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`for_people`: no more of the story than can be read."""
        super().__init__(_LEVELS[level])
        self._for_people = for_people
        self._clock = clock
        self._arrival_s = 0.0
        self._untold = 0
        self._form = form
        self._outlet = outlet
        self._logs = logs
        self._number = 0

    def tell(self, stored: Stored) -> None:
        """One journal record."""
        if self._for_people and not self._has_time():
            self._untold += 1
            return
        if self._untold:
            self._outlet.offer(b"... and %d more records\n" % self._untold)
            self._untold = 0
        log = self._logs.make(stored, time.time_ns())
        if log is not None and self._matters(log.log_record):
            self._outlet.offer(self._form(log))

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the plane's own log."""
        self._number += 1
        uid = f"plane-{os.getpid()}-{self._number}"
        at_ns = int(record.created * 1e9)
        self._outlet.offer(self._form(self._logs.of(describe_said(said(record)), uid, at_ns, at_ns)))

    def close(self) -> None:
        """Nothing more is told."""
        self._outlet.close()
        super().close()

    def _has_time(self) -> bool:
        now = self._clock()
        self._arrival_s = max(self._arrival_s, now - BURST / LINES_A_SECOND) + 1 / LINES_A_SECOND
        if self._arrival_s <= now:
            return True
        self._arrival_s -= 1 / LINES_A_SECOND
        return False

    def _matters(self, record: LogRecord) -> bool:
        """What the plane logs was told when it was logged."""
        level = logging.getLevelNamesMapping()[record.severity_text or "NOTSET"]
        return level >= self.level and record.event_name != events.DIAGNOSTIC


def console_for(config: Config, logs: Logs, journald: str = JOURNALD) -> Console:
    """JSON lines go to standard output, all else for people to standard error. Raises OSError."""
    level = config.log_level or "info"
    match config.log_format:
        case "json":
            return Console(forms.otlp_json, Outlet(sys.stdout.fileno()), logs, level)
        case "journald":
            return Console(forms.journal_fields, Outlet(_connected(journald)), logs, level)
        case "auto" | "text":
            return Console(forms.text, Outlet(sys.stderr.fileno()), logs, level, for_people=True)


def _connected(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.connect(path)
        return peer.detach()


def _write(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]
