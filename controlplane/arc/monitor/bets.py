"""The arc's part of a test that runs in the kernel: is told the statistic, and knows what it is worth."""

from math import log
from typing import Final

from controlplane.arc.monitor.budget import Budget

LN2: Final = log(2.0)


class BetsTest:
    """One stream's bets, for one rule. See `Test`; statistic and threshold are in bits, 20 for a million."""

    __slots__ = ("_budget", "above", "fired_ns", "quiet_until_ns", "statistic", "threshold")
    kind = "histogram"

    def __init__(self, above: int, budget: Budget) -> None:
        """`above`: values up to this are no evidence; 0: all are."""
        self.above = above
        self._budget = budget
        self.threshold = budget.nats / LN2
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_settle(self, number: int, now_ns: int) -> None:
        """So many bets were made; what they may come to depends on how many there are on the whole node."""
        self._budget.must_count(number, now_ns)
        self.threshold = self._budget.nats / LN2

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. Here the value is the statistic, in 64ths of a bit."""
        self.statistic = value / 64
        return self.statistic >= self.threshold
