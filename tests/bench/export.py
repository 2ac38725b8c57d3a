"""Records a second to a collector, and CPU time of each: the plane beside the SDK's batch pipeline.

Both send the same records, each from a process of its own, to a sink in this one. The plane reads them from
a journal, syncs them to the disk, keeps the history and remembers what is acknowledged; the peer has them in
memory.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.report import Figure, Options, conclude
from tests.plane.running import node, plane
from tests.plane.sink import Sink
from tests.plane.writer import finding

RECORDS: Final = 20_000
ROUNDS: Final = 3
TICKS: Final = os.sysconf("SC_CLK_TCK")


class Run(NamedTuple):
    """One way of sending all records."""

    per_s: float
    cpu_us: float
    """Of the sending process, a record."""


def main(options: Options) -> int:
    """Rounds of both alternate; the medians count."""
    count = options.count or RECORDS
    return asyncio.run(_measure(count))


async def _measure(count: int) -> int:
    ours: list[Run] = []
    theirs: list[Run] = []
    for number in range(ROUNDS):
        ours.append(await _plane(count))
        theirs.append(await _peer(count))
        print(f"round {number + 1}: plane {ours[-1].per_s:.0f}/s, peer {theirs[-1].per_s:.0f}/s", flush=True)
    own, peer = (Run(*map(_median, zip(*runs, strict=True))) for runs in (ours, theirs))
    conclude(
        "export",
        {
            "records a second": Figure(own.per_s, "1/s", peer.per_s, own.per_s / peer.per_s),
            "CPU time a record": Figure(own.cpu_us, "us", peer.cpu_us, own.cpu_us / peer.cpu_us),
        },
    )
    return 0


async def _plane(count: int) -> Run:
    """From the first record that arrives to the last; the journal is full before it starts."""
    async with Sink() as sink:
        with node(size=1 << 20, keep=64) as where:
            where.write(*(finding(number + 1) for number in range(count)))
            async with plane(where, where.config(f"http://127.0.0.1:{sink.port}")) as running:
                await sink.until_taken(1, 60)
                stat = Path(f"/proc/{running.process.pid}/stat")
                return await _until_all(sink, count, stat)


async def _peer(count: int) -> Run:
    async with Sink() as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.export_peer", str(sink.port), str(count)),
            stdin=asyncio.subprocess.PIPE,
        )
        try:
            await sink.until_taken(1, 60)
            return await _until_all(sink, count, Path(f"/proc/{process.pid}/stat"))
        finally:
            await process.communicate(b"")


async def _until_all(sink: Sink, count: int, stat: Path) -> Run:
    first, began, before = len(sink.uids), time.monotonic(), _cpu_s(stat)
    await sink.until_taken(count, 120)
    took, records = time.monotonic() - began, count - first
    return Run(records / took, (_cpu_s(stat) - before) / records * 1e6)


def _cpu_s(stat: Path) -> float:
    """User and system time, see proc_pid_stat(5)."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _median(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]
