"""Do events come faster than they used to? Poisson-CUSUM against a rate that the stream itself has taught.

`weight` events in a time t, when r t were expected, speak for a rate that is k times as high with the
log-likelihood ratio weight ln k - (k - 1) r t (Page, "Continuous inspection schemes", 1954; Lucas, "Counted
data CUSUM's", 1985). Real events come in clusters, so it is divided by the dispersion: how many times as
much as a Poisson count the counts vary, at the worst of some scales. A sum of such evidence that never
falls below zero reaches ln n not oftener than once in n records, and n is what the budget allows.
"""

from array import array
from collections.abc import Sequence
from math import isfinite, log
from typing import Final

from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.tiers import NATS

RATIOS: Final = (2.0, 6.0)
LOGARITHMS: Final = (log(2.0), log(6.0))
CHOICE: Final = log(len(RATIOS))
"""In nats: of so many sums, any may be wrong."""
WARM_UP: Final = 64
"""Records before a stream may fire."""
MEMORY: Final = 512
"""Records that the rate remembers; older ones fade."""
SCALES: Final = (1, 8, 64)
"""Records over which dispersion is measured."""
WEIGHTS: Final = (1 / 64, 1 / 64, 1 / 16)
"""Of the newest measurement at each scale."""
DOUBT: Final = 1.5
"""Factor by which evidence is worth less after each alarm that went away by itself, as bursts do."""
LEAST_TRUST: Final = 1 / 1024
REGAINED: Final = 1 / 4096
"""Part of the lost trust that each record without alarm brings back."""
MOST: Final = 2.0
"""Statistic at most, in thresholds, and not less than the second tier: so soon is an alarm over."""


class Dispersion:
    """Variance of counts over their mean, at the worst of the scales; at least 1, as of a Poisson process."""

    __slots__ = ("_events", "_expected", "_records", "_residuals", "_squares", "value")

    def __init__(self) -> None:
        self._residuals = array("d", [0.0] * len(SCALES))
        self._events = array("d", [0.0] * len(SCALES))
        self._squares = array("d", [0.0] * len(SCALES))
        """Faded means of squared residuals, and of the events expected."""
        self._expected = array("d", [0.0] * len(SCALES))
        self._records = 0
        self.value = 1.0

    def must_learn(self, count: float, expected: float) -> None:
        """One record: how many came, and how many a steady rate would have brought."""
        self._records += 1
        worst = 1.0
        for scale in range(len(SCALES)):
            self._residuals[scale] += count - expected
            self._events[scale] += expected
            if self._records % SCALES[scale] == 0:
                self._must_close(scale)
            if self._squares[scale] > worst * self._expected[scale]:
                worst = self._squares[scale] / self._expected[scale]
        self.value = worst

    def saved(self) -> tuple[float, ...]:
        """Everything, in some order."""
        return (self._records, *self._residuals, *self._events, *self._squares, *self._expected)

    def restore(self, saved: Sequence[float]) -> None:
        """The other way round."""
        number = len(SCALES)
        self._records = int(saved[0])
        for at, kept in enumerate((self._residuals, self._events, self._squares, self._expected)):
            kept[:] = array("d", saved[1 + at * number : 1 + (at + 1) * number])

    def _must_close(self, scale: int) -> None:
        residual, weight = self._residuals[scale], WEIGHTS[scale]
        self._squares[scale] += (residual * residual - self._squares[scale]) * weight
        self._expected[scale] += (self._events[scale] - self._expected[scale]) * weight
        self._residuals[scale] = self._events[scale] = 0.0


class PoissonTest:
    """One stream's rate, dispersion and evidence. See `Test`; the statistic is in nats.

    Events told at one and the same time wait for the next time: how coarse a clock is, is no evidence.
    """

    __slots__ = (
        *("_budget", "_dispersion", "_elapsed", "_events", "_open", "_pending", "_since_ns", "_sums"),
        *("_told", "_trust", "adapted", "fired_ns", "quiet_until_ns", "statistic", "threshold"),
    )
    kind = "poisson"

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._dispersion = Dispersion()
        self._told = 0
        """Records so far; while an alarm is open, since it began."""
        self._events = self._elapsed = 0.0
        self._pending = 0
        self._since_ns = 0
        self._sums = array("d", [0.0] * len(RATIOS))
        self._open = False
        self._trust = 1.0
        """What evidence is worth: alarms do not teach the dispersion, but many of them mean it is wrong."""
        self.adapted = 0
        """Times a change turned out to be for good and became the baseline."""
        self.threshold = budget.nats + CHOICE
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`."""
        if now_ns < since_ns or weight <= 0:
            return self._open
        if not self._pending:
            self._since_ns = since_ns
        self._pending += weight
        elapsed = now_ns - self._since_ns
        if elapsed > 0:
            count = self._pending
            self._pending = 0
            self._must_take(float(count), float(elapsed), now_ns)
        return self._open

    def saved(self) -> tuple[float, ...]:
        """What has been learned."""
        return (self._told, self._events, self._elapsed, self._trust, *self._dispersion.saved())

    def restore(self, saved: Sequence[float]) -> None:
        """Begin with that; raises ValueError where it cannot have been."""
        told, events, elapsed, trust, *dispersion = saved
        sane = all(map(isfinite, saved)) and 0 < trust <= 1 and (not told or min(told, events, elapsed) > 0)
        if not sane or len(dispersion) != 1 + 4 * len(SCALES) or min(dispersion[1 + len(SCALES) :]) < 0:
            raise ValueError("no baseline")
        self._told, self._events, self._elapsed, self._trust = int(told), events, elapsed, trust
        self._dispersion.restore(dispersion)

    def _must_take(self, count: float, elapsed: float, now_ns: int) -> None:
        self._told += 1
        if self._told > WARM_UP or self._open:
            if not self._open:
                self._budget.must_count(1, now_ns)
            self.threshold = self._budget.nats + CHOICE
            self._must_weigh(count, elapsed * self._events / self._elapsed)
        if self._open:
            if self._told >= MEMORY:
                self._must_adapt()
        else:
            self._must_learn(count, elapsed)

    def _must_weigh(self, count: float, expected: float) -> None:
        worst, most = 0.0, MOST * self.threshold
        if most < self.threshold + NATS:
            most = self.threshold + NATS
        worth = self._trust / self._dispersion.value
        for index in range(len(RATIOS)):
            evidence = count * LOGARITHMS[index] - (RATIOS[index] - 1) * expected
            total = self._sums[index] + evidence * worth
            total = 0.0 if total < 0 else total if total < most else most
            self._sums[index] = total
            if total > worst:
                worst = total
        self.statistic = worst
        if self._open:
            if worst < self.threshold / 2:
                self._must_end()
                self._trust = self._trust / DOUBT if self._trust > LEAST_TRUST else LEAST_TRUST
        elif worst >= self.threshold:
            self._open = True
            self._told = 0

    def _must_learn(self, count: float, elapsed: float) -> None:
        if self._events and self._told > WARM_UP // 4:
            self._dispersion.must_learn(count, elapsed * self._events / self._elapsed)
        self._trust += (1 - self._trust) * REGAINED
        keep = 1 - 1 / (self._told if self._told < MEMORY else MEMORY)
        self._events = keep * self._events + count
        self._elapsed = keep * self._elapsed + elapsed

    def _must_end(self) -> None:
        self._open = False
        self._told = MEMORY
        self.statistic = 0.0
        for index in range(len(RATIOS)):
            self._sums[index] = 0.0

    def _must_adapt(self) -> None:
        """The alarm has lasted as long as the baseline: what was a change is how it is now."""
        self._must_end()
        self._told = 0
        self._events = self._elapsed = 0.0
        self.adapted += 1
