"""The disk of the journal is full or read-only for a while: what is lost is counted and told."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tests.plane.running import Node, Running, node, plane
from tests.plane.sink import Sink, attributes_of
from tests.plane.writer import notice
from tests.small_disk import SmallDisk, beside

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

DROPPED = 'reflexarc_journal_dropped_total{stage="copied"}'
Scenario = Callable[[Node, Sink, Running, SmallDisk], Awaitable[None]]


def run(scenario: Scenario, *, keep: int) -> None:
    async def main() -> None:
        async with asyncio.timeout(50), Sink() as sink:
            with node(keep=keep) as where:
                where.state.mkdir(mode=0o755)
                where.within = lambda command: beside(where.state, command)
                async with plane(where, where.config(f"http://127.0.0.1:{sink.port}")) as running:
                    await write(where, 10)
                    await sink.until_taken(10)
                    await scenario(where, sink, running, SmallDisk(running.process.pid, where.state))

    asyncio.run(main())


async def write(where: Node, records: int) -> None:
    """In small parts, between which the plane may read them."""
    for _ in range(records // 10):
        where.write(*(notice(number, "x" * 100) for number in range(10)))
        await asyncio.sleep(0)


async def degraded(running: Running, *, serving: bool) -> None:
    for component in ("plane", "export"):
        await running.serving(component, serving=serving)


def test_full_for_a_moment_nothing_is_lost() -> None:
    async def scenario(where: Node, sink: Sink, running: Running, disk: SmallDisk) -> None:
        disk.fill()
        await write(where, 500)
        await degraded(running, serving=False)
        assert (await running.metrics())["reflexarc_journal_write_errors_total"] > 0
        disk.make_room()
        await degraded(running, serving=True)
        await sink.until_taken(where.written)
        assert (await running.metrics())[DROPPED] == 0

    run(scenario, keep=16)


@pytest.mark.parametrize("way", ["full", "read-only"])
def test_for_longer_what_is_lost_is_counted_while_it_lasts_and_told_afterwards(way: str) -> None:
    async def scenario(where: Node, sink: Sink, running: Running, disk: SmallDisk) -> None:
        if way == "full":
            disk.fill()
        else:
            disk.read_only(read_only=True)
        await write(where, 5000)
        await degraded(running, serving=False)
        counted = (await running.metrics())[DROPPED]
        assert counted > 0
        if way == "full":
            disk.make_room()
        else:
            disk.read_only(read_only=False)
        await degraded(running, serving=True)
        last = f"{where.writer.instance:016x}-{where.written - 1}"
        await sink.until(lambda: last in sink.uids)
        gaps = [record for record in sink.records() if record.event_name == "reflexarc.journal.dropped"]
        told = sum(attributes_of(gap)["reflexarc.count"] for gap in gaps)
        assert told + len(sink.uids) - len(gaps) == where.written
        assert (await running.metrics())[DROPPED] == told >= counted

    run(scenario, keep=3)
