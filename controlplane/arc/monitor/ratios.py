"""Ratios and rare things: they happen oftener than in a share of cases, or than at a rate.

Likelihood ratios against several alternatives at once, so the size of the change need not be known (mixture
SPRT; Robbins, "Statistical methods related to the law of the iterated logarithm", 1970). Where the share or
the rate is stated, they are exact: no distribution is approximated.
"""

from array import array
from math import log, log1p, log2, sqrt
from typing import Final

from controlplane.arc.monitor.buckets import CEILING, FLOOR
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.winnings import Winnings

RATIOS: Final = (2.0, 4.0, 16.0)
RARE_RATIOS: Final = (3.0, 10.0, 100.0)
STAKES: Final = (0.04, 0.15, 0.5)
"""Parts of the winnings that are bet on an exceedance."""
LEAST: Final = log2(FLOOR)
MOST: Final = log2(CEILING)


class RatioTest:
    """More failures than a share of all trials: `value` failed of `weight`. See `Test`."""

    __slots__ = ("_failed", "_passed", "_winnings", "fired_ns", "quiet_until_ns", "statistic", "threshold")
    kind = "ratio"

    def __init__(self, share: float, events: int) -> None:
        """Failures are to be at most `share` of trials, above 0 and below 1."""
        worse = [min(share * ratio, (1 + share) / 2) for ratio in RATIOS]
        self._failed = array("d", (log(other / share) for other in worse))
        self._passed = array("d", (log1p(-other) - log1p(-share) for other in worse))
        self._winnings = Winnings(len(RATIOS))
        self.threshold = float(events)
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. More failures than trials are as many as trials."""
        if weight > 0 and value >= 0:
            failed = value if value < weight else weight
            for index in range(len(RATIOS)):
                payoff = failed * self._failed[index] + (weight - failed) * self._passed[index]
                self._winnings.must_bet(index, payoff)
            self._winnings.must_settle(self.threshold)
            self.statistic = self._winnings.mean
        return self._winnings.open


class RareTest:
    """Oftener than once in `interval_ns`, exactly as a Poisson process would have it. See `Test`.

    The first event of a stream says since when it is known, and is no evidence: that there is one at all is
    why there is a stream.
    """

    __slots__ = (
        *("_begun", "_budget", "_interval_ns", "_logarithms", "_winnings"),
        *("fired_ns", "quiet_until_ns", "statistic", "threshold"),
    )
    kind = "rare"

    def __init__(self, interval_ns: int, budget: Budget) -> None:
        self._interval_ns = interval_ns
        self._budget = budget
        self._begun = False
        self._logarithms = array("d", (log(ratio) for ratio in RARE_RATIOS))
        self._winnings = Winnings(len(RARE_RATIOS))
        self.threshold = budget.events
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`."""
        if weight <= 0 or now_ns < since_ns:
            return self._winnings.open
        if self._begun or now_ns > since_ns:
            if not self._winnings.open:
                self._budget.must_count(1, now_ns)
            self.threshold = self._budget.events
            self._must_bet(weight, (now_ns - since_ns) / self._interval_ns)
        self._begun = True
        return self._winnings.open

    def _must_bet(self, number: int, expected: float) -> None:
        for index in range(len(RARE_RATIOS)):
            payoff = number * self._logarithms[index] - (RARE_RATIOS[index] - 1) * expected
            self._winnings.must_bet(index, payoff)
        self._winnings.must_settle(self.threshold)
        self.statistic = self._winnings.mean


class ExceedanceTest:
    """Values above a quantile that the stream itself has taught come too often. See `Test`.

    The quantile is followed by steps up and down that balance (Robbins and Monro, 1951), but not in an alarm.
    Values lie above it less often than the bets assume, by the factor `MARGIN`, because it is an estimate.
    """

    __slots__ = (
        *("_above", "_learned", "_level", "_lost", "_share", "_winnings"),
        *("fired_ns", "quiet_until_ns", "statistic", "threshold"),
    )
    kind = "exceedance"
    WARM_UP: Final = 2000
    MARGIN: Final = 0.7
    LEAST_STEP: Final = 0.01
    """In octaves, up; the first is one octave, the n-th is 1 / sqrt(n), but not less."""

    def __init__(self, share: float, events: int) -> None:
        """Values are to lie above the quantile in `share` of all cases, above 0 and below 1."""
        self._share = self.MARGIN * share
        self._above = array("d", (log1p(stake * (1 / share - 1)) for stake in STAKES))
        self._lost = array("d", (log1p(-stake) for stake in STAKES))
        self._winnings = Winnings(len(STAKES))
        self._level = 0.0
        """Of the quantile, in octaves."""
        self._learned = 0
        self.threshold = float(events)
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`."""
        if value != value:  # noqa: PLR0124  # NaN
            return self._winnings.open
        octave = log2(value) if FLOOR <= value < CEILING else LEAST if value < FLOOR else MOST
        exceeds = octave > self._level
        if self._learned >= self.WARM_UP:
            payoffs = self._above if exceeds else self._lost
            for index in range(len(STAKES)):
                self._winnings.must_bet(index, payoffs[index])
            self._winnings.must_settle(self.threshold)
            self.statistic = self._winnings.mean
        if not self._winnings.open:
            self._must_learn(octave, exceeds=exceeds)
        return self._winnings.open

    def _must_learn(self, octave: float, *, exceeds: bool) -> None:
        if not self._learned:
            self._level = octave
        self._learned += 1
        step = 1 / sqrt(self._learned)
        if step < self.LEAST_STEP:
            step = self.LEAST_STEP
        self._level += step if exceeds else -step * self._share / (1 - self._share)
