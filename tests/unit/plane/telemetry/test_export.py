"""The exporter against a collector that misbehaves: real files, real gRPC, one event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from controlplane.arc.reflex.journal import Journal as Writer
from controlplane.plane import cursor as cursors
from controlplane.plane.journal import Journal
from controlplane.plane.telemetry.collector import Collector
from controlplane.plane.telemetry.export import MAX_RECORDS, Backoff, Exporter, Paths
from controlplane.plane.telemetry.logs import Logs
from tests.plane.sink import (
    Context,
    Sink,
    at_most,
    attributes_of,
    hang,
    poison,
    records_of,
    refuse,
    reject,
    retry_after,
)
from tests.plane.writer import append, notice, writing

Scenario = Callable[["Bench", Sink], Awaitable[None]]


@dataclass
class Bench:
    """A journal, what fills it, and one exporter at a time."""

    folder: Path
    writer: Writer
    disk: ThreadPoolExecutor
    cap: int = 1 << 30
    batch_bytes: int = 1 << 20
    troubles: list[str] = field(default_factory=list)
    written: int = 0
    spoken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.paths = Paths(self.folder / "export.json", self.folder / "dead-letter.otlp")
        self.journal = Journal(self.folder / "head", self.folder / "kept", self.cap)
        self.journal.open()

    async def caught_up(self, exporter: Exporter) -> None:
        """Waits until the exporter has said how it fares, with nothing left to send."""
        while True:
            self.spoken.clear()
            exporter.wake()
            await self.spoken.wait()
            if not exporter.backlog:
                return

    def _trouble(self, reason: str) -> None:
        self.troubles.append(reason)
        self.spoken.set()

    def write(self, count: int, text: str = "") -> None:
        append(self.writer, *(notice(number, text) for number in range(self.written, self.written + count)))
        self.written += count
        while self.journal.pull().stored:
            pass

    @asynccontextmanager
    async def exporting(self, sink: Sink, timeout_s: float = 5.0) -> AsyncIterator[Exporter]:
        exporter = Exporter(
            self.journal,
            self.disk,
            Logs({}),
            Collector(f"127.0.0.1:{sink.port}", tls=None, headers={"X-Key": "secret"}, timeout_s=timeout_s),
            self.paths,
            batch_bytes=self.batch_bytes,
            trouble=self._trouble,
            backoff=Backoff(0.01, 0.05),
        )
        exporter.begin()
        task = asyncio.create_task(exporter.run())
        try:
            yield exporter
        finally:
            task.cancel()
            await asyncio.wait([task])


def run(folder: Path, scenario: Scenario, *, cap: int = 1 << 30, batch_bytes: int = 1 << 20) -> None:
    async def main() -> None:
        with writing(folder / "head") as writer, ThreadPoolExecutor(1) as disk:
            async with asyncio.timeout(30), Sink() as sink:
                bench = Bench(folder, writer, disk, cap, batch_bytes)
                await scenario(bench, sink)
                bench.journal.close()

    asyncio.run(main())


def test_everything_arrives_once_in_order_and_is_remembered(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.write(1200)
        async with bench.exporting(sink) as exporter:
            await sink.until_taken(1200)
            bench.write(3)
            exporter.wake()
            await sink.until_taken(1203)
            await bench.caught_up(exporter)
            assert exporter.records == {"exported": 1203, "rejected": 0}
        indices = [int(uid.rpartition("-")[2]) for uid in sink.uids]
        assert indices == list(range(1203))
        assert max(sink.uids.values()) == 1
        assert cursors.load(bench.paths.cursor).index == 1203
        assert all(len(records_of(request)) <= MAX_RECORDS for request in sink.requests)
        assert sink.metadata[0]["x-key"] == "secret"

    run(tmp_path, scenario)


def test_the_next_exporter_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.write(10)
        async with bench.exporting(sink) as exporter:
            await bench.caught_up(exporter)
        bench.write(10)
        async with bench.exporting(sink) as exporter:
            await bench.caught_up(exporter)
        assert len(sink.uids) == 20
        assert max(sink.uids.values()) == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
def test_a_collector_that_refuses_is_asked_again(tmp_path: Path, code: grpc.StatusCode) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        sink.faults.extend([refuse(code)] * 4)
        bench.write(5)
        async with bench.exporting(sink) as exporter:
            await sink.until_taken(5)
            await bench.caught_up(exporter)
            assert exporter.failures[code.name] >= 3
        assert max(sink.uids.values()) == 1
        assert bench.troubles[0].startswith(code.name)
        assert bench.troubles[-1] == ""

    run(tmp_path, scenario)


def test_a_collector_that_hangs_costs_one_timeout(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        sink.faults.append(hang)
        bench.write(5)
        async with bench.exporting(sink, timeout_s=0.2) as exporter:
            await sink.until_taken(5)
            assert exporter.failures == {"DEADLINE_EXCEEDED": 1}

    run(tmp_path, scenario)


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.write(100)
        async with bench.exporting(sink) as exporter:
            await sink.until_taken(100)
            await sink.stop()
            for _ in range(20):
                bench.write(50)
                exporter.wake()
                await asyncio.sleep(0.02)
            assert bench.troubles[-1].startswith("UNAVAILABLE")
            assert exporter.backlog > 0
            await sink.start()
            await sink.until_taken(1100)
            await bench.caught_up(exporter)
        assert max(sink.uids.values()) == 1
        assert bench.troubles[-1] == ""

    run(tmp_path, scenario)


def test_health_is_bad_until_the_backlog_is_gone(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.write(3 * MAX_RECORDS)
        sink.faults.append(refuse(grpc.StatusCode.UNAVAILABLE))
        async with bench.exporting(sink) as exporter:
            await sink.until_taken(MAX_RECORDS)
            assert "" not in bench.troubles
            await bench.caught_up(exporter)
        assert bench.troubles[-1] == ""

    run(tmp_path, scenario)


def test_partial_success_is_read_and_told(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        sink.faults.append(reject(3))
        bench.write(10)
        async with bench.exporting(sink) as exporter:
            await bench.caught_up(exporter)
            assert exporter.records == {"exported": 7, "rejected": 3}
        assert sink.attempts == 1

    run(tmp_path, scenario)


def test_poison_stands_alone_is_kept_and_passed(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        sink.always = poison(lambda record: "bad" in record.body.string_value)
        bench.write(40)
        bench.write(1, "bad")
        bench.write(40)
        bench.write(1, "bad too")
        async with bench.exporting(sink) as exporter:
            await bench.caught_up(exporter)
            assert exporter.records["dead_letter"] == 2
            assert exporter.records["exported"] == 80
        assert len(sink.uids) == 80
        assert max(sink.uids.values()) == 1
        kept = ExportLogsServiceRequest.FromString(bench.paths.dead_letters.read_bytes())
        assert [record.body.string_value for record in records_of(kept)] == ["bad", "bad too"]
        assert len(kept.resource_logs) == 2

    run(tmp_path, scenario)


def test_a_collector_with_a_smaller_limit_gets_smaller_requests(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        sink.always = at_most(60)
        bench.write(1500)
        async with bench.exporting(sink):
            await sink.until_taken(1500)
        assert max(sink.uids.values()) == 1
        assert sink.attempts < 100

    run(tmp_path, scenario)


def test_a_collector_that_says_when_is_left_alone_until_then(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        busy = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, details=retry_after(0.4))
        sink.faults.append(busy)
        bench.write(600)
        async with bench.exporting(sink) as exporter:
            await sink.until(lambda: sink.attempts == 1)
            began = asyncio.get_running_loop().time()
            await sink.until(lambda: sink.attempts == 2)
            assert asyncio.get_running_loop().time() - began >= 0.39
            await bench.caught_up(exporter)
        # It was not too large, so it came again whole.
        assert len(records_of(sink.requests[0])) == MAX_RECORDS

    run(tmp_path, scenario)


def test_a_record_too_large_for_the_collector_stands_alone_and_is_kept(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        async def small(request: ExportLogsServiceRequest, context: Context) -> None:
            if request.ByteSize() > 1500:
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "larger than max")

        sink.always = small
        bench.write(5)
        bench.write(1, "x" * 2000)
        bench.write(5)
        async with bench.exporting(sink) as exporter:
            await sink.until_taken(10)
            await bench.caught_up(exporter)
            assert exporter.records["dead_letter"] == 1
        kept = ExportLogsServiceRequest.FromString(bench.paths.dead_letters.read_bytes())
        assert [record.body.string_value for record in records_of(kept)] == ["x" * 2000]

    run(tmp_path, scenario)


def test_requests_stay_below_the_limit_of_bytes(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.write(300, "x" * 1500)
        async with bench.exporting(sink):
            await sink.until_taken(300)
        assert max(request.ByteSize() for request in sink.requests) <= 64 * 1024
        assert len(sink.requests) < 30

    run(tmp_path, scenario, batch_bytes=64 * 1024)


def test_what_found_no_room_is_told_with_its_exact_number(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        await sink.stop()
        async with bench.exporting(sink) as exporter:
            for _ in range(10):
                bench.write(200)
                exporter.wake()
                if bench.journal.crowded():
                    await exporter.make_room()
            await sink.start()
            await sink.until(lambda: any(uid.endswith(str(bench.written - 1)) for uid in sink.uids))
            await bench.caught_up(exporter)
        told = [record for record in sink.records() if record.event_name == "reflexarc.journal.dropped"]
        dropped = sum(attributes_of(record)["reflexarc.count"] for record in told)
        arrived = len(sink.uids) - len(told)
        assert told
        assert dropped == exporter.records["dropped"]
        assert dropped + arrived == bench.written

    run(tmp_path, scenario, cap=20_000)


def test_room_made_under_way_does_not_count_what_arrives(tmp_path: Path) -> None:
    """The batch in flight is given up for want of room, and then acknowledged after all."""

    async def scenario(bench: Bench, sink: Sink) -> None:
        held, go = asyncio.Event(), asyncio.Event()

        async def hold(*_: object) -> None:
            held.set()
            await go.wait()

        sink.faults.append(hold)
        bench.write(300)
        async with bench.exporting(sink) as exporter:
            await held.wait()
            bench.write(2000)
            await exporter.make_room()
            go.set()
            await sink.until(lambda: any(uid.endswith(str(bench.written - 1)) for uid in sink.uids))
            await bench.caught_up(exporter)
        told = [record for record in sink.records() if record.event_name == "reflexarc.journal.dropped"]
        dropped = sum(attributes_of(record)["reflexarc.count"] for record in told)
        assert dropped == exporter.records["dropped"] > 0
        assert dropped + len(sink.uids) - len(told) == bench.written

    run(tmp_path, scenario, cap=40_000)


def test_a_cursor_that_cannot_be_kept_is_said_and_stops_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench, sink: Sink) -> None:
        bench.paths.cursor.with_suffix(".new").mkdir()
        bench.write(10)
        async with bench.exporting(sink) as exporter:
            await bench.caught_up(exporter)
        assert len(sink.uids) == 10
        assert "cursor cannot be kept" in bench.troubles[-1]

    run(tmp_path, scenario)
