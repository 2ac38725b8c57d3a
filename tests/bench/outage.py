"""A collector goes away and comes back: what arrives of what was written.

Beside the batch pipeline of the OpenTelemetry SDK, at the same rate in the same run. Each has a collector of
its own; both go and come back together.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from tests.bench.report import Figure, Options, conclude
from tests.plane.running import Node, node, plane
from tests.plane.sink import Sink
from tests.plane.writer import finding

SECONDS: Final = 60
AROUND_S: Final = 5
"""With the collectors there, before and after."""
BATCH: Final = 20
PERIOD_S: Final = 0.1
CATCH_UP_S: Final = 60


@dataclass
class Peer:
    """The batch pipeline of the OpenTelemetry SDK, as its documentation sets it up."""

    sink: Sink
    written: int = 0

    def __post_init__(self) -> None:
        self._provider = LoggerProvider()
        exporter = OTLPLogExporter(endpoint=f"127.0.0.1:{self.sink.port}", insecure=True)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._logger = self._provider.get_logger("peer")

    def write(self, count: int) -> None:
        for _ in range(count):
            self._logger.emit(
                severity_number=SeverityNumber.WARN,
                body="a finding",
                attributes={"log.record.uid": str(self.written)},
            )
            self.written += 1

    async def close(self) -> None:
        await asyncio.to_thread(self._provider.shutdown)


def main(options: Options) -> int:
    """Exit code 1 when one of our records is missing."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it says each loss; the table says all
    return asyncio.run(_measure(options.seconds or SECONDS))


async def _measure(seconds: int) -> int:
    async with Sink() as ours, Sink() as theirs:
        peer = Peer(theirs)
        with node(keep=64) as where:
            async with plane(where, where.config(f"http://127.0.0.1:{ours.port}")):
                await _write(where, peer, AROUND_S)
                await asyncio.gather(ours.stop(), theirs.stop())
                await _write(where, peer, seconds)
                await asyncio.gather(ours.start(), theirs.start())
                back = time.monotonic()
                await _write(where, peer, AROUND_S)
                await peer.close()
                await ours.until_taken(where.written, CATCH_UP_S)
                took = time.monotonic() - back
                return _conclude(where, ours, peer, took)


async def _write(where: Node, peer: Peer, seconds: int) -> None:
    for _ in range(int(seconds / PERIOD_S)):
        where.write(*(finding(where.written + number + 1) for number in range(BATCH)))
        peer.write(BATCH)
        await asyncio.sleep(PERIOD_S)


def _conclude(where: Node, ours: Sink, peer: Peer, took: float) -> int:
    lost = where.written - len(ours.uids)
    conclude(
        "outage",
        {
            "written": Figure(where.written, "records", peer=peer.written),
            "lost": Figure(lost, "records", peer=peer.written - len(peer.sink.uids), aim=0),
            "repeated, same uid": Figure(_repeats(ours), "records", peer=_repeats(peer.sink)),
            "caught up at most": Figure(took, "s after the return"),
        },
    )
    return 1 if lost else 0


def _repeats(sink: Sink) -> int:
    return sum(sink.uids.values()) - len(sink.uids)
