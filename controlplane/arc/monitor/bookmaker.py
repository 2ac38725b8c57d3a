"""Sets the odds at which streams bet in the kernel, whenever the kernel has a summary of one.

Not in the hot path: a summary is due by count, at most some ten a second and stream in its first moments,
later one in twenty minutes. Costs some 200 us.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from controlplane.arc.kernel.events import Bet, Event
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.buckets import must_bucket
from controlplane.arc.monitor.integer import UNIT
from controlplane.arc.monitor.past import NEVER, Past, SavedPast

MAX_PASTS: Final = 10240
"""BET_SLOTS of bpf/events.h."""
IDLE: Final = 2**20
"""Values until the next summary of a stream for which no rule bets."""


class Slots(Protocol):
    """What the kernel shares; see `kernel.bets.Bets`."""

    def must_read(self, slot: int) -> Bet:
        """What it has counted."""

    def must_set(
        self, slot: int, key: int, threshold: int, over: int, most: int, half: int, due: int, scores: bytes
    ) -> None:
        """Put odds in force."""


class Bookmaker:
    """The pasts of all streams, by signal and key."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._signals: set[int] = set()
        """Of all pasts: few, where there may be thousands of keys."""
        self.pasts: dict[tuple[int, int], Past] = {}

    def summarise(self, event: Event, tests: Iterable[BetsTest]) -> bool:
        """Learn from a stream and set its odds; whether a change turned out to be for good.

        Without tests nothing is to be told of it.
        """
        bet = self._slots.must_read(event.slot)
        wanted = list(tests)
        if not wanted:
            self._slots.must_set(
                event.slot, event.key, NEVER, 0, 0, 0, bet.gathered + IDLE & 0xFFFFFFFF, bytes(324)
            )
            return False
        floor = min(floor_of(test.above) for test in wanted)
        past = self._past(event, floor)
        before = past.adapted
        number = past.learn(bet, event.time_ns, doubt_at(min(test.threshold for test in wanted)))
        for test in wanted:
            test.must_settle(number, event.time_ns)
        bits = [test.threshold for test in wanted]
        self._slots.must_set(event.slot, event.key, *past.odds(bet.gathered, min(bits), max(bits)))
        return past.adapted != before

    def note(self, event: Event) -> None:
        """An alarm of a stream began, grew or ended."""
        past = self.pasts.get((event.signal, event.key))
        if past is not None:
            past.note(self._slots.must_read(event.slot), event.time_ns)

    def saved(self) -> Iterator[SavedPast]:
        """All pasts that there are when it begins, each as it is when its turn comes."""
        return (past.saved(*key) for key, past in list(self.pasts.items()))

    def restore(self, saved: Iterable[SavedPast], now_ns: int) -> None:
        """Begin with what was learned before. What cannot have been is left out."""
        for each in saved:
            with contextlib.suppress(ValueError):
                self.pasts[each.signal, each.key] = Past.restored(each, now_ns)
                self._signals.add(each.signal)

    def forget(self, key: int) -> None:
        """A cgroup is gone."""
        for signal in self._signals:
            self.pasts.pop((signal, key), None)

    def _past(self, event: Event, floor: int) -> Past:
        key = (event.signal, event.key)
        past = self.pasts.get(key)
        if past is None:
            if len(self.pasts) >= MAX_PASTS:
                del self.pasts[next(iter(self.pasts))]
            past = self.pasts[key] = Past(event.time_ns, floor)
            self._signals.add(event.signal)
        past.floor = floor
        return past


def doubt_at(bits: float) -> float:
    """A quarter of the way to a threshold: chance comes as far now and then, a fault passes by."""
    return bits * UNIT / 4


def floor_of(above: int) -> int:
    """The bucket up to which values are no evidence: that of `above`, 0 for none."""
    return max(0, must_bucket(above)) if above else 0
