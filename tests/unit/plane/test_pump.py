"""From the doorbell to the story, in order, whatever the disk and the bytes are like."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.arc.reflex.journal import Journal as Writer
from controlplane.link.records import Notice, Record
from controlplane.plane.journal import Journal, Stored
from controlplane.plane.pump import Pump
from tests.plane.writer import append, notice, writing


@dataclass
class Ears:
    """Whom the pump tells."""

    fed: list[tuple[str, int, Record]] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    opened: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_record(self, uid: str, wall_ns: int, record: Record) -> None:
        self.fed.append((uid, wall_ns, record))

    def on_live(self, stored: Stored) -> None:
        self.live.append(stored.entry.index)

    def on_open(self) -> None:
        self.opened += 1

    async def on_sync(self) -> None:
        self.changed.set()

    def on_trouble(self, reason: str) -> None:
        self.troubles.append(reason)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@dataclass
class Bench:
    folder: Path
    writer: Writer
    doorbell: int
    life: asyncio.Task[None] | None = None

    def write(self, *records: Record) -> None:
        append(self.writer, *records)
        os.eventfd_write(self.doorbell, 1)

    @asynccontextmanager
    async def pumping(self) -> AsyncIterator[tuple[Pump, Ears]]:
        """One life of a pump."""
        ears = Ears()
        journal = Journal(self.folder / "head", self.folder / "kept", 1 << 30)
        with ThreadPoolExecutor(1) as disk:
            pump = Pump(
                journal,
                disk,
                self.doorbell,
                feed=ears.on_record,
                live=ears.on_live,
                moved=ears.moved.append,
                opened=ears.on_open,
                synced=ears.on_sync,
                trouble=ears.on_trouble,
            )
            task = self.life = asyncio.create_task(pump.run())
            try:
                yield pump, ears
            finally:
                task.cancel()
                await asyncio.wait([task])
                journal.close()


def run(folder: Path, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        doorbell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            with writing(folder / "head") as writer:
                async with asyncio.timeout(20):
                    await scenario(Bench(folder, writer, doorbell))
        finally:
            os.close(doorbell)

    asyncio.run(main())


def numbers(ears: Ears) -> list[int]:
    return [record.time_ns for _, _, record in ears.fed]


def test_every_ring_is_answered_in_order(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        async with bench.pumping() as (pump, ears):
            for number in range(100):
                bench.write(notice(number))
                await ears.until(lambda: len(ears.fed) > number)  # noqa: B023 -- awaited at once
            assert numbers(ears) == list(range(100))
            assert pump.tally.records == 100
            uid, wall_ns, _ = ears.fed[42]
            assert uid == f"{bench.writer.instance:016x}-42"
            assert wall_ns > 10**18

    run(tmp_path, scenario)


def test_stopped_in_the_middle_it_tells_all_that_it_has_copied(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        async with bench.pumping() as (pump, ears):
            for number in range(50):
                bench.write(notice(number))
                if number == 25:
                    pump.stop()
                await asyncio.sleep(0)
            assert bench.life is not None
            await bench.life
            await pump.drain()
            assert ears.live == list(range(50))

    run(tmp_path, scenario)


def test_what_was_written_before_it_began_is_there(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        append(bench.writer, notice(1))
        async with bench.pumping() as (_, ears):
            await ears.until(lambda: bool(ears.fed))

    run(tmp_path, scenario)


def test_the_last_segments_are_told_again_after_a_restart(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.write(*(notice(number) for number in range(50)))
        async with bench.pumping() as (_, ears):
            await ears.until(lambda: len(ears.fed) == 50)
        bench.write(notice(50))
        async with bench.pumping() as (pump, ears):
            await ears.until(lambda: len(ears.fed) == 51)
            assert ears.live == [50]
            assert numbers(ears) == list(range(51))
            assert (ears.opened, pump.tally.missing) == (1, 0)

    run(tmp_path, scenario)


def test_a_record_that_cannot_be_understood_is_counted_and_passed(tmp_path: Path) -> None:
    class Strange(Notice, frozen=True, tag="Strange"):
        """Of a version to come."""

    async def scenario(bench: Bench) -> None:
        async with bench.pumping() as (pump, ears):
            bench.write(notice(1), Strange(time_ns=2, name="x"), notice(3))
            await ears.until(lambda: len(ears.fed) == 2)
            assert numbers(ears) == [1, 3]
            assert pump.tally.undecodable == 1

    run(tmp_path, scenario)


def test_a_disk_that_refuses_is_said_and_tried_again(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        kept = tmp_path / "kept"
        kept.write_text("in the way")
        async with bench.pumping() as (pump, ears):
            await ears.until(lambda: bool(ears.troubles))
            assert "cannot be kept" in ears.troubles[0]
            kept.unlink()
            bench.write(notice(1))
            await ears.until(lambda: ears.troubles[-1] == "")
            assert numbers(ears) == [1]
            assert pump.tally.write_errors >= 1

    run(tmp_path, scenario)


def test_whole_segments_are_given_back(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        async with bench.pumping() as (_, ears):
            bench.write(*(notice(number) for number in range(100)))
            await ears.until(lambda: len(ears.fed) == 100)
            bench.write(notice(100))
            await ears.until(lambda: len(ears.fed) == 101)
            assert all(bench.writer.moved(segment) for segment in set(ears.moved))
            assert len(list((tmp_path / "head").glob("*.seg"))) == 1

    run(tmp_path, scenario)
