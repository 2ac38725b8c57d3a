"""Everything that may go wrong between a journal and a collector, at random, all at once, and what arrives.

Used by a short test and by the benchmark of the same name.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import grpc
import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from controlplane.link.config import Config, Export
from controlplane.link.records import Record
from tests.plane.running import Node, node, plane
from tests.plane.sink import (
    Context,
    Fault,
    Sink,
    attributes_of,
    hang,
    poison,
    records_of,
    refuse,
    retry_after,
    slow,
    uid_of,
)
from tests.plane.writer import notice
from tests.unit.plane import told

POISON: Final = "no collector takes this"
REFLEXES: Final = 20
"""Written at a time, five records each, and before them now and then a poisoned record."""
POISONED: Final = 0.03
PERIOD_S: Final = 0.1
LONGEST_S: Final = 600


@dataclass
class Torture:
    """One run, in figures."""

    written: int = 0
    poisoned: int = 0
    distinct: int = 0
    repeats: int = 0
    out_of_order: int = 0
    """Records that came for the first time behind a later one of their reflex."""
    dead_letters: int = 0
    kills: int = 0
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def is_poison(record: LogRecord) -> bool:
    return record.body.string_value == POISON


class Collector(Sink):
    """Remembers the order of first arrivals; never takes poison."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, LogRecord] = {}
        self.always = poison(is_poison)

    def note(self) -> None:
        """Keeps what came, and lets go of the requests."""
        for record in self.records():
            self.first.setdefault(uid_of(record), record)
        self.requests.clear()

    async def take_and_reset(self, request: ExportLogsServiceRequest, context: Context) -> None:
        """The batch arrives, and its answer does not."""
        if not any(map(is_poison, records_of(request))):
            self.requests.append(request)
            self.uids.update(map(uid_of, records_of(request)))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "reset")


async def torture(records: int, kills: int, random: Random) -> Torture:
    """Writes so many records, kills the plane so many times; returns when all have arrived."""
    done = Torture()
    async with Collector() as sink:
        with node(size=1 << 20) as where:
            config = where.config(f"http://127.0.0.1:{sink.port}", export=Export(timeout_ms=300))
            writing = asyncio.create_task(_write(where, done, records, random))
            breaking = asyncio.create_task(_break(sink, done, random))
            for _ in range(kills):
                await _live(where, config, random)
                done.kills += 1
            await writing
            breaking.cancel()
            await asyncio.wait([breaking])
            await _recover(sink)
            async with plane(where, config):
                await sink.until_taken(done.written, 300)
            done.dead_letters = len(dead_letters(where.state))
    sink.note()
    _judge(sink, done)
    return done


async def _live(where: Node, config: Config, random: Random) -> None:
    """From a start to a kill."""
    async with plane(where, config) as running:
        await asyncio.sleep(random.uniform(0, 3))
        running.kill()
        await running.ended()


async def _write(where: Node, done: Torture, records: int, random: Random) -> None:
    while done.written < records:
        if random.random() < POISONED or not done.poisoned:
            where.write(notice(0, POISON))
            done.poisoned += 1
        reflexes = min(REFLEXES, (records - done.written) // 5)
        for number in range(reflexes):
            trace = (done.written // 5 + number + 1).to_bytes(16, "big")
            where.write(*reflex(trace))
        done.written += reflexes * 5
        await asyncio.sleep(PERIOD_S)


def reflex(trace_id: bytes) -> list[Record]:
    """Five records that must arrive in this order."""
    return [
        msgspec.structs.replace(record, time_ns=told.EVENT_NS + number)
        for number, record in enumerate(told.reflex(trace_id))
    ]


async def _break(sink: Collector, done: Torture, random: Random) -> None:
    """One fault after the other, for as long as the run lasts."""
    busy = grpc.StatusCode.RESOURCE_EXHAUSTED
    faults: dict[str, Fault] = {
        "hang": hang,
        "slow": slow(0.3),
        "unavailable": refuse(grpc.StatusCode.UNAVAILABLE),
        "internal": refuse(grpc.StatusCode.INTERNAL),
        "exhausted": refuse(busy),
        "exhausted, with retry info": refuse(busy, details=retry_after(0.2)),
        "reset after the batch": sink.take_and_reset,
    }
    while True:
        await asyncio.sleep(random.uniform(0, 0.2))
        # Between two faults something is taken, or all of the run would be one outage.
        taken = len(sink.uids)
        await sink.until(partial(_has_taken_more, sink, taken), LONGEST_S)
        sink.note()
        name = random.choice(["stopped", *faults])
        if name == "stopped":
            done.faults[name] += 1
            await sink.stop()
            await asyncio.sleep(random.uniform(0, 0.5))
            await sink.start()
        else:
            sink.faults.append(_counted(name, faults[name], done))


def _counted(name: str, fault: Fault, done: Torture) -> Fault:
    """Of what a fault would take, poison is refused all the same."""

    async def counted(
        request: ExportLogsServiceRequest, context: Context
    ) -> ExportLogsServiceResponse | None:
        done.faults[name] += 1
        return await fault(request, context) or await poison(is_poison)(request, context)

    return counted


def _has_taken_more(sink: Sink, than: int) -> bool:
    return len(sink.uids) > than and not sink.faults


async def _recover(sink: Collector) -> None:
    sink.faults.clear()
    await sink.stop()
    await sink.start()


def dead_letters(state: Path) -> set[str]:
    """Uids of what was put aside; one that was put aside twice counts once."""
    kept = ExportLogsServiceRequest.FromString((state / "dead-letter.otlp").read_bytes())
    assert all(map(is_poison, records_of(kept)))
    return {uid_of(record) for record in records_of(kept)}


def _judge(sink: Collector, done: Torture) -> None:
    done.distinct = len(sink.uids)
    done.repeats = sum(sink.uids.values()) - done.distinct
    latest: dict[bytes, int] = {}
    for record in sink.first.values():
        index = int(str(attributes_of(record)["log.record.uid"]).rpartition("-")[2])
        done.out_of_order += index < latest.get(record.trace_id, -1)
        latest[record.trace_id] = max(index, latest.get(record.trace_id, -1))
