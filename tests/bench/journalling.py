"""What telling costs the arc: one record into the journal, beside one into the SDK's batch pipeline.

Before an act there is one record, its intent; the others follow when it has returned. The journal is on
tmpfs, as the arc has it; nothing is exported.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult

from controlplane.arc.reflex.journal import Journal
from controlplane.link.records import Record
from controlplane.plane.telemetry.describe import describe
from tests.bench.report import Figure, Options, conclude, percentile
from tests.unit.plane import told

COUNT: Final = 20_000
AIM_US: Final = 10.0
SEGMENT: Final = 1 << 20
TMPFS: Final = "/run"
NAMES: Final = ("intent", "outcome", "finding", "evidence")


def main(options: Options) -> int:
    """P50 and P99 of each kind of record."""
    count = options.count or COUNT
    records: tuple[Record, ...] = (told.intent(), told.outcome(), told.finding(), told.evidence())
    figures: dict[str, Figure] = {}
    with _journal() as journal, _peer() as logger:
        for name, record in zip(NAMES, records, strict=True):
            ours = _times(count, partial(journal.must_append, record), journal.tend)
            theirs = _times(count, partial(_emit, logger, record), lambda: None)
            for share, label in ((0.5, "p50"), (0.99, "p99")):
                own, peer = percentile(ours, share), percentile(theirs, share)
                aim = AIM_US if share > 0.5 else None
                figures[f"{name}, {label}"] = Figure(own, "us", peer, own / peer, aim)
    conclude("journalling", figures)
    return 0


def _times(count: int, work: Callable[[], None], between: Callable[[], None]) -> Sequence[float]:
    """Microseconds of each call, ascending; what the arc does between batches is left out."""
    gc.collect()
    gc.disable()
    took = []
    for _ in range(count):
        began = time.perf_counter_ns()
        work()
        took.append((time.perf_counter_ns() - began) / 1000)
        between()
    gc.enable()
    return sorted(took)


@contextmanager
def _journal() -> Iterator[Journal]:
    with TemporaryDirectory(dir=TMPFS) as folder:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        journal = Journal(directory, SEGMENT, 16, os.getgid(), tuple)
        yield journal
        journal.close()
        os.close(directory)


class _Nowhere(LogRecordExporter):
    """Takes everything at once."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:  # noqa: ARG002
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: ARG002
        return True


@contextmanager
def _peer() -> Iterator[Logger]:
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(_Nowhere()))
    yield provider.get_logger("peer")
    provider.shutdown()


def _emit(logger: Logger, record: Record) -> None:
    """What there is to say of a record is made where it is emitted: nobody else could."""
    event = describe(record, 0)
    logger.emit(
        timestamp=record.time_ns,
        severity_number=SeverityNumber.WARN,
        body=event.body,
        attributes=event.attributes,
        event_name=event.name,
    )
