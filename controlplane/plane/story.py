"""What happened lately, and what is happening: history and live feed, built from journal records.

Reflexes are assembled by trace id. Everything is bounded: reflexes, their steps, watchers and what waits for
a watcher. Reads no journal (the pump feeds it) and knows nothing of the API.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from controlplane.link import records

MAX_REFLEXES: Final = 1_000
MAX_STEPS: Final = 64
MAX_WATCHERS: Final = 64
MAX_WAITING: Final = 1_024

Step = records.Intent | records.Outcome | records.Effect | records.Undo | records.GuardRefused


class Told(msgspec.Struct, frozen=True):
    """One journal record, and what only its place in the journal and in its reflex says."""

    uid: str
    """`log.record.uid`."""
    wall_ns: int
    """Its `time_ns` as wall-clock nanoseconds since the epoch."""
    record: records.Finding | Step | records.Lost | records.Notice
    event_ns: int | None = None
    """Monotonic time of the kernel event that began its reflex, None where that is not known."""


class Reflex(msgspec.Struct):
    """One reflex as far as it has come."""

    number: int
    """Rises by one with every reflex; orders them and lets a reader go on where it stopped."""
    trace_id: bytes
    finding: Told | None = None
    """None where it is no longer known."""
    steps: list[Told] = msgspec.field(default_factory=list)
    """In the order of the journal."""
    steps_dropped: int = 0
    evidence: bytes = b""
    """The `Evidence` as it was journalled, for it is seldom asked for; empty where there is none."""


class WatcherDroppedError(Exception):
    """The watcher did not keep up and is told nothing more."""


class StoryEndedError(Exception):
    """Nobody is told anything more: the plane stops."""


class TooManyWatchersError(Exception):
    """No room for another watcher."""


class Watcher:
    """A bounded queue of what one watcher has yet to read."""

    def __init__(self) -> None:
        self.dropped = False
        self._ended = False
        self._waiting: deque[Told] = deque()
        self._wake = asyncio.Event()

    async def next(self) -> Told:
        """The next thing told. Raises WatcherDroppedError or, once the rest was read, StoryEndedError."""
        while not self._waiting:
            if self.dropped:
                raise WatcherDroppedError(f"more than {MAX_WAITING} events were waiting to be read")
            if self._ended:
                raise StoryEndedError
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def offer(self, told: Told) -> bool:
        """Takes it; where there is no room, drops the watcher with all that waits, and says so."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped = True
            self._waiting.clear()
        else:
            self._waiting.append(told)
        self._wake.set()
        return not self.dropped

    def end(self) -> None:
        """Nothing more will be offered."""
        self._ended = True
        self._wake.set()


class Story:
    """The last 1,000 reflexes and everybody who watches. Belongs to one event loop."""

    def __init__(self) -> None:
        self.watchers_dropped: Counter[str] = Counter()
        """Watchers dropped, by reason."""
        self._reflexes: OrderedDict[bytes, Reflex] = OrderedDict()
        self._number = 0
        self._watchers: set[Watcher] = set()

    @property
    def watchers(self) -> int:
        """Watchers now, those included that were dropped and have not left."""
        return len(self._watchers)

    def feed(self, uid: str, wall_ns: int, record: records.Record) -> None:
        """Takes a synced record, in journal order. `wall_ns`: its time since the epoch.

        Evidence is kept for whoever asks, and no watcher is told: it says nothing new, at length. Who called
        is for the logs alone: whoever may look need not know; and so is how long a storm went on.
        """
        match record:
            case records.Intent(carried=True) | records.Audit() | records.Repeated() | records.Diagnostic():
                return
            case records.Evidence(trace_id=trace_id):
                self._reflex(trace_id).evidence = records.ENCODER.encode(record)
                return
            case records.Lost() | records.Notice():
                told = Told(uid, wall_ns, record)
            case records.Finding():
                told = Told(uid, wall_ns, record, record.time_ns)
                self._reflex(record.trace_id).finding = told
            case _:
                told = self._add_step(uid, wall_ns, record)
        self._tell(told)

    def reflex(self, trace_id: bytes) -> Reflex | None:
        """The reflex of that trace, None where it is not among those kept."""
        return self._reflexes.get(trace_id)

    def named(self, prefix: str) -> list[Reflex]:
        """Reflexes whose trace id begins so, in hexadecimal digits; the newest first."""
        return [reflex for reflex in self.reflexes() if reflex.trace_id.hex().startswith(prefix)]

    def reflexes(self, before: int | None = None) -> Iterator[Reflex]:
        """Newest first; with `before`, those of a lower number. To be read without awaiting in between."""
        for reflex in reversed(self._reflexes.values()):
            if before is None or reflex.number < before:
                yield reflex

    @contextmanager
    def subscribe(self) -> Iterator[Watcher]:
        """A watcher of everything fed while the block lasts. Raises TooManyWatchersError."""
        if len(self._watchers) >= MAX_WATCHERS:
            self.watchers_dropped["too_many"] += 1
            raise TooManyWatchersError(f"{MAX_WATCHERS} clients watch already")
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def stalled(self, watcher: Watcher) -> None:
        """Counts a watcher that takes nothing more; it leaves by itself."""
        if not watcher.dropped:
            watcher.dropped = True
            self.watchers_dropped["stalled"] += 1

    def end(self) -> None:
        """Lets every watcher of now go, so that a server can stop without cutting anybody off."""
        for watcher in self._watchers:
            watcher.end()

    def _add_step(self, uid: str, wall_ns: int, record: Step) -> Told:
        reflex = self._reflex(record.trace_id)
        told = Told(uid, wall_ns, record, _event_ns(record, reflex))
        if len(reflex.steps) < MAX_STEPS:
            reflex.steps.append(told)
        else:
            reflex.steps_dropped += 1
        return told

    def _reflex(self, trace_id: bytes) -> Reflex:
        reflex = self._reflexes.get(trace_id)
        if reflex is None:
            self._number += 1
            reflex = self._reflexes[trace_id] = Reflex(self._number, trace_id)
            if len(self._reflexes) > MAX_REFLEXES:
                self._reflexes.popitem(last=False)
        return reflex

    def _tell(self, told: Told) -> None:
        for watcher in self._watchers:
            if not watcher.dropped and not watcher.offer(told):
                self.watchers_dropped["slow"] += 1


def _event_ns(record: Step, reflex: Reflex) -> int | None:
    if not isinstance(record, records.GuardRefused):
        return record.event_ns
    return reflex.finding.event_ns if reflex.finding else None
