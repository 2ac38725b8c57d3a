"""Exports the journal: reads it from where the collector has acknowledged, and moves on when it has.

The journal is the queue, so an outage makes records late and loses none. Owns the cursor's file and the dead
letters. What one attempt means is for `collector` to say, what a record says for `logs`.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, assert_never

import msgspec
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord

from controlplane.plane import cursor as cursors
from controlplane.plane.cursor import Cursor
from controlplane.plane.journal import Gap, Journal, Stored
from controlplane.plane.telemetry.answer import Accepted, Busy, Poisoned, TooLarge, Unreachable
from controlplane.plane.telemetry.collector import Collector
from controlplane.plane.telemetry.collector_http import HttpCollector
from controlplane.plane.telemetry.logs import Logs

MAX_RECORDS: Final = 512
MAX_DEAD_LETTERS: Final = 1024 * 1024
"""Bytes of records that no collector takes; later ones are only counted."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Backoff(NamedTuple):
    """Waiting times of an outage, in seconds; each is drawn below a bound that doubles."""

    first: float = 0.5
    most: float = 10.0

    def delay(self, attempt: int) -> float:
        """Before the attempt of that number, counted from 1."""
        bound = min(self.first * 2 ** min(attempt - 1, 30), self.most)
        return random.uniform(bound / 2, bound)  # noqa: S311 -- jitter, not a secret


DEFAULT_BACKOFF: Final = Backoff()


@dataclass(frozen=True)
class Paths:
    """What the exporter keeps in the state directory."""

    cursor: Path
    dead_letters: Path


class Exporter:
    """One journal to one collector."""

    def __init__(
        self,
        journal: Journal,
        disk: Executor,
        logs: Logs,
        collector: Collector | HttpCollector,
        paths: Paths,
        *,
        batch_bytes: int,
        trouble: Callable[[str], None],
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        """`trouble` is called with why the export falls behind, and with nothing once it has caught up."""
        self.records: Counter[str] = Counter()
        """Records by what became of them: `exported`, `rejected`, `dead_letter`, `dropped`."""
        self.failures: Counter[str] = Counter()
        """Failed attempts, by status code."""
        self.cursor = Cursor()
        self._journal = journal
        self._disk = disk
        self._logs = logs
        self._collector = collector
        self._paths = paths
        self._batch_bytes = batch_bytes
        self._batch_records = MAX_RECORDS
        self._trouble = trouble
        self._backoff = backoff
        self._attempt = 0
        self._unsaved = ""
        self._begun = asyncio.Event()
        self._more = asyncio.Event()
        self._settled = asyncio.Event()
        self._moving = asyncio.Lock()

    @property
    def backlog(self) -> int:
        """Bytes of the journal the collector has not acknowledged."""
        return self._journal.backlog(self.cursor)

    def begin(self) -> None:
        """The journal can be read: from where the last exporter stopped."""
        self.cursor = cursors.load(self._paths.cursor)
        self._begun.set()

    def wake(self) -> None:
        """More is on the disk."""
        self._settled.clear()
        self._more.set()

    async def settled(self) -> None:
        """Returns when everything is acknowledged, or when there is no hope of it for now."""
        if self._begun.is_set() and not self._attempt:
            await self._settled.wait()

    async def run(self) -> None:
        """Export until cancelled; what was sent and not acknowledged is sent again at the next start."""
        async with self._collector:
            await self._begun.wait()
            while True:
                self._more.clear()
                try:
                    await self._export_batch()
                except OSError as error:
                    await self._pause("DISK", f"the journal cannot be read: {error.strerror or error}")

    async def _export_batch(self) -> None:
        start = self.cursor
        items, end = await self._read(start)
        if items:
            await self._deliver(await asyncio.to_thread(self._make, items))
            await self._acknowledge(start, end, items)
        else:
            self._trouble(self._unsaved)
            self._settled.set()
            await self._more.wait()

    async def make_room(self) -> None:
        """Hold the journal's bound; what goes before it was acknowledged is told as soon as may be."""
        async with self._moving:
            before = self.cursor.dropped
            moved = await self._in_disk_thread(lambda: self._journal.make_room(self.cursor))
            assert moved is not None
            self.records["dropped"] += moved.dropped - before
            self.cursor = moved
            await self._save()

    async def _read(self, start: Cursor) -> tuple[list[Stored | Gap], Cursor]:
        # Half: a record becomes longer when its numbers get names.
        size = self._batch_bytes // 2
        return await self._in_disk_thread(lambda: self._journal.read(start, self._batch_records, size))

    def _make(self, items: Sequence[Stored | Gap]) -> list[ReadableLogRecord]:
        now = time.time_ns()
        return [log for item in items if (log := self._logs.make(item, now)) is not None]

    async def _deliver(self, logs: list[ReadableLogRecord]) -> None:
        """Returns when every record is acknowledged or put aside."""
        if not logs:
            return
        request = await asyncio.to_thread(encode_logs, logs)
        if len(logs) > 1 and request.ByteSize() > self._batch_bytes:
            await self._deliver_halves(logs)
            return
        while True:
            answer = await self._collector.send(request)
            match answer:
                case Accepted():
                    self._accepted(answer, len(logs))
                    return
                case Poisoned() | TooLarge():
                    await self._part(answer, logs, request)
                    return
                case Busy():
                    await self._pause("RESOURCE_EXHAUSTED", answer.message)
                    if len(logs) > 1:
                        await self._deliver_smaller(logs)
                        return
                case Unreachable():
                    await self._pause(answer.code, answer.message, answer.after_s)
                case _:
                    assert_never(answer)

    async def _part(
        self, answer: Poisoned | TooLarge, logs: list[ReadableLogRecord], request: ExportLogsServiceRequest
    ) -> None:
        """What will never be taken as it is: in halves, until what cannot be taken stands alone."""
        self.failures["INVALID_ARGUMENT" if isinstance(answer, Poisoned) else "OUT_OF_RANGE"] += 1
        if len(logs) == 1:
            await self._put_aside(request, answer.message)
        elif isinstance(answer, TooLarge):
            await self._deliver_smaller(logs)
        else:
            await self._deliver_halves(logs)

    async def _deliver_smaller(self, logs: list[ReadableLogRecord]) -> None:
        """And the next batches, too."""
        self._batch_records = (len(logs) + 1) // 2
        await self._deliver_halves(logs)

    async def _deliver_halves(self, logs: list[ReadableLogRecord]) -> None:
        middle = len(logs) // 2
        await self._deliver(logs[:middle])
        await self._deliver(logs[middle:])

    def _accepted(self, answer: Accepted, count: int) -> None:
        self._attempt = 0
        self.records["exported"] += count - answer.rejected
        self.records["rejected"] += answer.rejected
        self._batch_records = min(self._batch_records + MAX_RECORDS // 16, MAX_RECORDS)

    async def _pause(self, code: str, message: str, after_s: float = 0.0) -> None:
        """At least for as long as the collector asks for."""
        self.failures[code] += 1
        self._attempt += 1
        self._trouble(f"{code}: {message}")
        self._settled.set()
        await asyncio.sleep(after_s + self._backoff.delay(self._attempt))

    async def _put_aside(self, request: ExportLogsServiceRequest, message: str) -> None:
        self.records["dead_letter"] += 1
        log.warning("a record that the collector will never take was put aside: %s", message)
        letter = request.SerializeToString()
        try:
            await self._in_disk_thread(lambda: _append(self._paths.dead_letters, letter))
        except OSError as error:
            log.warning("a record no collector takes could not be kept: %s", error)

    async def _acknowledge(self, start: Cursor, end: Cursor, items: Sequence[Stored | Gap]) -> None:
        async with self._moving:
            if self.cursor == start or self.cursor.segment <= end.segment:
                self.cursor = end
            else:
                # Room was made meanwhile, and what has just arrived was among what was counted as dropped.
                told = sum(item.count if isinstance(item, Gap) else 1 for item in items)
                self.cursor = msgspec.structs.replace(self.cursor, dropped=self.cursor.dropped - told)
                self.records["dropped"] -= told
            await self._save()

    async def _save(self) -> None:
        try:
            await self._in_disk_thread(lambda: cursors.save(self._paths.cursor, self.cursor))
        except OSError as error:
            # The next start repeats what was acknowledged since; each repeat is recognisable by its uid.
            self._unsaved = f"the cursor cannot be kept: {error.strerror or error}"
        else:
            self._unsaved = ""

    async def _in_disk_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _append(path: Path, letter: bytes) -> None:
    """Requests one behind the other are one request with all their records: any OTLP tool reads the file."""
    with path.open("ab") as file:
        if file.tell() + len(letter) <= MAX_DEAD_LETTERS:
            file.write(letter)
