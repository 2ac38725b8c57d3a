"""Moves the journal from the arc's head to the disk, and hands on what is safe there.

Owns the doorbell and the one thread in which the disk is waited for. Decides nothing about records: one that
cannot be understood is counted and passed over, for the exporter to put aside.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from controlplane.link.malformed import MALFORMED
from controlplane.link.records import DECODER, Record
from controlplane.plane.cursor import Cursor
from controlplane.plane.journal import Journal, Stored

RETRY_S: Final = 2.0
REPLAYED: Final = 4
"""Segments told again at the start, for the history."""

T = TypeVar("T")
Feed = Callable[[str, int, Record], None]
Live = Callable[[Stored], None]


@dataclass
class Tally:
    """What the pump has seen since the plane began."""

    records: int = 0
    undecodable: int = 0
    missing: int = 0
    """Records the arc wrote and had to drop before they were copied; a later record showed the gap."""
    lacking: int = 0
    """As `missing`, of a gap that grows while the disk refuses."""
    write_errors: int = 0
    place: Cursor = field(default_factory=Cursor)


class Pump:
    """Event-driven: sleeps until the doorbell rings."""

    def __init__(  # noqa: PLR0913 -- what is told, and to whom
        self,
        journal: Journal,
        disk: Executor,
        doorbell: int,
        *,
        feed: Feed,
        live: Live,
        moved: Callable[[int], None],
        opened: Callable[[], None],
        synced: Callable[[], Awaitable[None]],
        trouble: Callable[[str], None],
    ) -> None:
        """`feed` is told the last segments again at the start, and then like `live` what is new.

        `opened` is called once there is a journal to read, `synced` when there is more of it.

        `moved` names a segment of the head that is whole on the disk, `trouble` says why nothing can be
        written (empty: it can).
        """
        self.tally = Tally()
        self._journal = journal
        self._disk = disk
        self._doorbell = doorbell
        self._feed = feed
        self._live = live
        self._moved = moved
        self._opened = opened
        self._synced = synced
        self._trouble = trouble
        self._is_open = False
        self._stopping = False
        self._rung = asyncio.Event()

    async def run(self) -> None:
        """Pump until stopped. A disk that refuses is tried again at the next bell, or a little later."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._doorbell, self._on_bell)
        try:
            while not self._stopping:
                healthy = await self.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if healthy else RETRY_S):
                        await self._rung.wait()
                self._rung.clear()
        finally:
            loop.remove_reader(self._doorbell)

    def stop(self) -> None:
        """Ends `run` after what it has begun: cut off, it would have copied records and told nobody."""
        self._stopping = True
        self._rung.set()

    async def drain(self) -> bool:
        """Copy everything that is in the head now; False where the disk refused."""
        try:
            if not self._is_open:
                await self._open()
            while await self._pull():
                await self._synced()
        except OSError as error:
            self.tally.write_errors += 1
            with suppress(OSError):  # the head may be what is broken
                self.tally.lacking = await self._in_thread(lambda: self._journal.missing(self.tally.place))
            self._trouble(f"the journal cannot be kept: {error.strerror or error}")
            return False
        self._trouble("")
        return True

    async def _open(self) -> None:
        """The last segments are told again: they are the history this process begins with."""
        await self._in_thread(self._journal.open)
        for _ in self._hand_on(await self._in_thread(lambda: list(self._journal.last(REPLAYED)))):
            pass
        self._is_open = True
        self._opened()

    async def _pull(self) -> bool:
        pulled = await self._in_thread(self._journal.pull)
        for item in self._hand_on(pulled.stored):
            self._live(item)
        for segment in pulled.moved:
            self._moved(segment)
        return bool(pulled.stored)

    def _on_bell(self) -> None:
        os.eventfd_read(self._doorbell)
        self._rung.set()

    def _hand_on(self, stored: list[Stored]) -> Iterator[Stored]:
        for item in stored:
            header, entry = item
            self.tally.records += 1
            # The gap that was told while the disk refused is this one: a counter must not fall.
            self.tally.missing += self.tally.place.missing(header, entry.index)
            self.tally.lacking = 0
            self.tally.place = Cursor.behind(0, header, entry)
            try:
                record = DECODER.decode(entry.payload)
            except MALFORMED:
                self.tally.undecodable += 1
            else:
                self._feed(item.uid, record.time_ns + header.wall_offset_ns, record)
                yield item

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)
