"""Histogram betting: has the distribution of a stream's values moved up? Needs to know no distribution.

Each value is a bet at odds that its stream's own past has set: bucket b of the past's histogram, with count
c, count T above it and n in all, pays sqrt(n) (sqrt(T+c) - sqrt(T)) / c, on average 1 as long as nothing
changes. It is the mean over the bucket of the calibrator 1/(2 sqrt(p)), p being the rank from above (Vovk
and Wang, "E-values: calibration, combination and applications", 2021). Winnings add up as in the procedure
of Shiryaev and Roberts, M <- (1 + M) E, so on average at least 1/alpha bets lie between alarms at M >=
1/alpha (Shin, Ramdas and Rinaldo, "E-detectors", 2023). This is the reference; `integer` has the form for
the kernel.
"""

from array import array
from math import inf, isfinite, log, sqrt
from typing import Final

from controlplane.arc.monitor.buckets import BUCKETS, must_bucket
from controlplane.arc.monitor.thinning import Thinning

WARM_UP: Final = 1024
"""Values before a stream may fire."""
FIRST_TABLE: Final = 256
MEMORY: Final = 8192
"""Values that a baseline remembers; older ones fade."""
SHARE: Final = 8
"""A table is made anew when an eighth of the baseline is new."""
CEILING: Final = 16.0
"""Statistic at most, in thresholds: so soon is an alarm over when its reason is."""


def must_payoff(count: float, above: float, total: float) -> float:
    """What a bucket with `count` of `total` values pays when `above` lie above it; `count` > 0."""
    return sqrt(total) * (sqrt(above + count) - sqrt(above)) / count


class Baseline:
    """What a stream's values are like, and the table of payoffs that follows."""

    __slots__ = ("counts", "handicap", "payoffs", "total")

    def __init__(self) -> None:
        self.counts = array("f", bytes(4 * BUCKETS))
        self.total = 0.0
        self.handicap = 1.0
        """What payoffs are divided by: a stream that drifts up would pay more than 1 on average."""
        self.payoffs = array("f", bytes(4 * BUCKETS))

    def must_learn(
        self, fresh: "array[int]", number: int, weight: float = 1.0, memory: float = MEMORY, fade: float = 1.0
    ) -> None:
        """Take `number` new values in, each for `weight`; old ones fade by `fade`, and beyond `memory`."""
        counts = self.counts
        if self.total:
            self._must_handicap(fresh, number)
        total = self.total * fade + number * weight
        keep = memory / total if total > memory else 1.0
        for bucket in range(BUCKETS):
            counts[bucket] = (counts[bucket] * fade + fresh[bucket] * weight) * keep
        self.total = total * keep

    def _must_handicap(self, fresh: "array[int]", number: int) -> None:
        paid = 0.0
        for bucket in range(BUCKETS):
            paid += fresh[bucket] * self.payoffs[bucket]
        handicap = self.handicap * (1 + paid / number) / 2
        self.handicap = handicap if handicap > 1.0 else 1.0

    def restore(self, counts: "array[float]", handicap: float) -> None:
        """As it was, by its counts; raises ValueError where that cannot have been."""
        total = sum(counts)
        if len(counts) != BUCKETS or min(counts) < 0 or not isfinite(total) or not 1 <= handicap < inf:
            raise ValueError("no baseline")
        self.counts, self.total, self.handicap = counts, total, handicap

    def must_forget(self) -> None:
        """Know nothing any more."""
        for bucket in range(BUCKETS):
            self.counts[bucket] = 0.0
        self.total = 0.0
        self.handicap = 1.0

    def must_set_odds(self, floor: int = 0) -> None:
        """Payoffs from counts. The value that is bet on counts with its bucket, as if already seen.

        So does one that is imagined above all: else a stream that never varies would win by standing still.
        Buckets up to `floor` are taken for one: how values move below it, is no evidence.
        """
        above, total = 1.0, self.total + 2
        for bucket in range(BUCKETS - 1, floor, -1):
            count = self.counts[bucket]
            self.payoffs[bucket] = must_payoff(count + 1, above, total) / self.handicap
            above += count
        rest = total - above if total > above else 1.0
        payoff = must_payoff(rest, above, total) / self.handicap
        for bucket in range(floor + 1):
            self.payoffs[bucket] = payoff


class BettingTest:
    """One stream's baseline and winnings. See `Test`; what is not a number is passed over."""

    __slots__ = (
        *(
            "_armed",
            "_baseline",
            "_fresh",
            "_fresh_total",
            "_left",
            "_lost",
            "_odd",
            "_open",
            "_thinning",
            "_wait",
        ),
        *("adapted", "fired_ns", "quiet_until_ns", "statistic", "threshold"),
    )
    kind = "betting"

    def __init__(self, events: int) -> None:
        """`events` pass on average between alarms that mean nothing."""
        self._baseline = Baseline()
        self._fresh = array("I", bytes(4 * BUCKETS))
        self._fresh_total = self._left = FIRST_TABLE
        """Values that make the next table, and how many of them are missing."""
        self._thinning = Thinning()
        self._wait = FIRST_TABLE + 1
        """Events until the next look; no look without a table."""
        self._odd = self._open = self._armed = False
        self.adapted = 0
        """Times a change turned out to be for good and became the baseline."""
        self.threshold = float(events)
        self._lost = sqrt(self.threshold)
        """Winnings below which an alarm is over: so far apart that it does not flutter."""
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    @property
    def every(self) -> int:
        """Events per bet."""
        return self._thinning.every

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. The statistic is the winnings M."""
        bucket = must_bucket(value)
        if bucket < 0:
            return False
        self._fresh[bucket] += 1
        self._left -= 1
        self._wait -= 1
        if self._wait <= 0:
            self._must_look(bucket)
        if self._left <= 0:
            self._must_refresh()
        return self._open

    def _must_look(self, bucket: int) -> None:
        thinning, baseline = self._thinning, self._baseline
        if thinning.rest:
            thinning.rest -= 1
        else:
            thinning.must_measure(log(baseline.payoffs[bucket]))
        if thinning.half:
            self._wait = thinning.half
            self._odd = not self._odd
            if self._odd:
                return
        winnings = (1.0 + self.statistic) * baseline.payoffs[bucket]
        if self._open:
            self._must_hold(winnings)
        elif not (self._armed and thinning.settled):
            self.statistic = 0.0
        else:
            self.statistic = winnings
            if winnings >= self.threshold:
                self._must_turn()

    def _must_hold(self, winnings: float) -> None:
        most = CEILING * self.threshold
        self.statistic = winnings if winnings < most else most
        if winnings < self._lost:
            self._must_turn()

    def _must_turn(self) -> None:
        """An alarm begins or ends: what came since the last table is no sample of healthy behaviour."""
        self._open = not self._open
        if not self._open:
            self.statistic = 0.0
        elif self.statistic > CEILING * self.threshold:
            self.statistic = CEILING * self.threshold
        self._thinning.must_doubt()
        self._must_gather()

    def _must_refresh(self) -> None:
        """Enough is new; what came while an alarm was open only if that was for good."""
        if self._open:
            self._baseline.must_forget()
            self.adapted += 1
            self._open = False
            self.statistic = 0.0
        self._baseline.must_learn(self._fresh, self._fresh_total)
        self._baseline.must_set_odds()
        self._armed = self._baseline.total >= WARM_UP
        self._must_gather()

    def _must_gather(self) -> None:
        """Begin to collect what the next table takes in."""
        share = int(self._baseline.total) // SHARE
        least = FIRST_TABLE // 2
        self._fresh_total = self._left = MEMORY if self._open else share if share > least else least
        for bucket in range(BUCKETS):
            self._fresh[bucket] = 0
