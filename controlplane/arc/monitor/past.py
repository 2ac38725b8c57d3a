"""What the arc knows of one stream that bets in the kernel: its past, and the odds that follow from it. Pure.

Learns from what the kernel has counted, when a summary says that there is enough. A table is made anew when
an eighth of the stream's life is new, in the end every twenty minutes, and what was learned fades within
about a day. So a fault of minutes is no part of what it is measured against.
"""

from array import array
from math import exp
from typing import Final, NamedTuple, Self

from controlplane.arc.kernel.events import Bet
from controlplane.arc.monitor.betting import FIRST_TABLE, SHARE, WARM_UP, Baseline
from controlplane.arc.monitor.buckets import BUCKETS, WHOLE
from controlplane.arc.monitor.integer import UNIT, bits_table
from controlplane.arc.monitor.thinning import WINDOW, Thinning
from controlplane.link.rules import NS

MEMORY: Final = 65536.0
"""Values that a baseline remembers at most."""
MOST_TAKEN: Final = 1024.0
"""What a batch counts for at most, however many values it has: a storm is not taught more than a minute."""
DAY_NS: Final = 24 * 3600 * NS
LONGEST_NS: Final = 20 * 60 * NS
SHORTEST_NS: Final = NS // 10
"""Between two tables of one stream."""
MOST_GAP: Final = 2**26
MOST_HALF: Final = 2**16
FOR_GOOD_NS: Final = 10 * 60 * NS
FOR_GOOD: Final = 8192
"""So long, and over so many values, an alarm lasts until the change is how it is now."""
ROOM: Final = 14 * UNIT
"""Of the statistic above its threshold: 16 times the winnings, and 1,000 times for what cannot be undone."""
WARM_UP_NS: Final = 10 * NS
"""Life of a stream before it may fire, however many values it has had: a busy one has many in no time."""
NEVER: Final = 2**31 - 1
FRESH: Final = array("I", bytes(4 * BUCKETS))
"""Scratch: what is new of the stream whose turn it is."""


class Made(NamedTuple):
    """Odds, but for whose they are; see struct odds."""

    threshold: int
    over: int
    most: int
    half: int
    due: int
    scores: bytes


class SavedPast(NamedTuple):
    """A past over a restart of the daemon."""

    signal: int
    key: int
    began_ns: int
    half: int
    settled: bool
    handicap: float
    counts: bytes


class Past:
    """One stream's."""

    __slots__ = (
        *(
            "_baseline",
            "_began_ns",
            "_first",
            "_gap",
            "_gathered",
            "_histogram",
            "_doubtful",
            "_missing",
            "_seen",
            "_opened_ns",
            "_scores",
        ),
        *("_sums", "_thinning", "_told_ns", "adapted", "floor"),
    )

    def __init__(self, now_ns: int, floor: int, first: int = WHOLE) -> None:
        """`floor`: buckets up to this are taken for one. `first`: the one that its values begin with."""
        self.floor = floor
        self._first = first
        self._baseline = Baseline()
        self._thinning = Thinning(MOST_HALF)
        self._histogram = memoryview(bytes(4 * (BUCKETS - first))).cast("I")
        """As it was at the last summary; the kernel only ever adds."""
        self._gathered = self._seen = 0
        """Values, at the last table and at the last summary."""
        self._doubtful = False
        self._sums = (0, 0, 0, 0, 0)
        self._missing = WINDOW
        """Scores, until correlation is measured."""
        self._gap = FIRST_TABLE
        self._began_ns = self._told_ns = now_ns
        self._opened_ns = 0
        """When the alarm began that is open; 0: none is."""
        self._scores = bytes(2 * (BUCKETS - first))
        self.adapted = 0
        """Times a change turned out to be for good and became the baseline."""

    @property
    def armed(self) -> bool:
        """Whether it knows enough to tell an alarm from what is usual."""
        old_enough = self._told_ns - self._began_ns >= WARM_UP_NS
        return old_enough and self._baseline.total >= WARM_UP and self._thinning.settled

    @property
    def every(self) -> int:
        """Values per bet."""
        return self._thinning.every

    @property
    def total(self) -> float:
        """Values that the baseline is made of."""
        return self._baseline.total

    def saved(self, signal: int, key: int) -> SavedPast:
        """What is worth keeping."""
        thinning, baseline = self._thinning, self._baseline
        kept = (thinning.half, thinning.settled, baseline.handicap, baseline.counts.tobytes())
        return SavedPast(signal, key, self._began_ns, *kept)

    @classmethod
    def restored(cls, saved: SavedPast, now_ns: int) -> Self:
        """As it was, with nothing seen since; raises ValueError where that cannot have been."""
        past = cls(now_ns, 0)
        past._baseline.restore(array("f", saved.counts), saved.handicap)
        past._baseline.must_set_odds()
        if not 0 <= saved.half <= MOST_HALF or not 0 <= saved.began_ns <= now_ns:
            raise ValueError("no past")
        past._thinning.half, past._thinning.settled = saved.half, saved.settled
        past._began_ns = saved.began_ns
        return past

    def note(self, bet: Bet, now_ns: int) -> None:
        """An alarm begins or ends: what came since the last table is no sample of healthy behaviour."""
        if bool(bet.told) != bool(self._opened_ns):
            self._opened_ns = now_ns if bet.told else 0
            self._skip(bet)
            # Values of two kinds depend on one another, whatever each of them does.
            self._sums = _sums_of(bet)

    def learn(self, bet: Bet, now_ns: int, doubt: float) -> int:
        """At a summary: take in what is new, unless an alarm is open. How many bets there were.

        With a statistic of `doubt` an alarm may be about to begin: then it waits until that is decided.
        """
        self.note(bet, now_ns)
        bets = (bet.gathered - self._seen & 0xFFFFFFFF) // self.every
        self._seen = bet.gathered
        number = bet.gathered - self._gathered & 0xFFFFFFFF
        lasts_ns = now_ns - (self._opened_ns or self._told_ns)
        for_good = number >= FOR_GOOD and lasts_ns >= FOR_GOOD_NS
        self._doubtful = not self._opened_ns and bet.statistic >= doubt and not for_good
        if self._opened_ns and for_good:
            self._baseline.must_forget()
            self.adapted += 1
            self._opened_ns = now_ns
        if for_good or not (self._opened_ns or self._doubtful):
            self._take(bet, number, now_ns)
        return bets

    def odds(self, gathered: int, lowest: float, highest: float) -> Made:
        """As things stand, with `gathered` values in all.

        Told from the lowest of the thresholds on, with room above the highest; in bits.
        """
        threshold, most = int(lowest * UNIT), int(highest * UNIT) + ROOM
        due = gathered + self._until_next() & 0xFFFFFFFF
        return Made(
            *(threshold, threshold // 2, most if self.armed else 0),
            *(self._thinning.half, due, self._scores),
        )

    def _until_next(self) -> int:
        """Values until the next table, or until it can be seen whether bets are independent."""
        if self._doubtful:
            return max(FIRST_TABLE // 2, self._gap // SHARE)
        if self._thinning.settled:
            return self._gap
        wanted = self._missing * max(1, self._thinning.half)
        return min(self._gap, max(FIRST_TABLE // 2, wanted))

    def _take(self, bet: Bet, number: int, now_ns: int) -> None:
        if number <= 0:
            return
        new, old, first = memoryview(bet.histogram).cast("I"), self._histogram, self._first
        for bucket in range(first):
            FRESH[bucket] = 0
        for bucket in range(BUCKETS - first):
            FRESH[bucket + first] = new[bucket] - old[bucket] & 0xFFFFFFFF
        weight = MOST_TAKEN / number if number > MOST_TAKEN else 1.0
        fade = exp(-(now_ns - self._told_ns) / DAY_NS) if now_ns > self._told_ns else 1.0
        self._baseline.must_learn(FRESH, number, weight, MEMORY, fade)
        self._baseline.must_set_odds(self.floor)
        self._scores = bits_table(self._baseline.payoffs[first:]).tobytes()
        self._judge(bet)
        self._pace(now_ns)
        self._skip(bet)

    def _judge(self, bet: Bet) -> None:
        """Whether bets are far enough apart, once there are enough scores."""
        sums = _sums_of(bet)
        looks = sums[0] - self._sums[0] & 0xFFFFFFFF
        if looks >= WINDOW:
            total, squares, near, far = (new - old for new, old in zip(sums[1:], self._sums[1:], strict=True))
            self._thinning.must_judge(looks, total, squares, near, far)
            self._sums, looks = sums, 0
        self._missing = WINDOW - looks

    def _pace(self, now_ns: int) -> None:
        """Values until the next table, so that an eighth of the stream's life lies between."""
        wanted = (now_ns - self._began_ns) // SHARE
        wanted = min(max(wanted, SHORTEST_NS), LONGEST_NS)
        took = now_ns - self._told_ns
        least = max(FIRST_TABLE // 2, min(int(self._baseline.total) // SHARE, int(MOST_TAKEN)))
        if 2 * took < wanted:
            self._gap = min(2 * max(self._gap, least), MOST_GAP)
        elif took > 2 * wanted:
            self._gap = max(self._gap // 2, least)
        else:
            self._gap = max(self._gap, least)
        self._told_ns = now_ns

    def _skip(self, bet: Bet) -> None:
        self._histogram = memoryview(bet.histogram).cast("I")
        self._gathered = bet.gathered


def _sums_of(bet: Bet) -> tuple[int, int, int, int, int]:
    return bet.looks, bet.sum, bet.squares, bet.near, bet.far
