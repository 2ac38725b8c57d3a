"""The tests a stream can run. Pure: records and time in, a decision out; O(1) and no allocation kept.

All share one shape, so that a reflex need not know which one fired: feed it with `must_update`, then
`statistic` is what it has against `threshold`.
"""

from typing import Protocol, assert_never

from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.levels import PressureTest
from controlplane.arc.monitor.ratios import RareTest
from controlplane.arc.monitor.replayed import ReplayedBets
from controlplane.link.rules import Betting, Level, Poisson, Pressure, Rare, Rate, allowance_ns
from controlplane.link.rules import Test as Parameters


class Test(Protocol):
    """One stream's test and its state."""

    kind: str
    statistic: float
    threshold: float
    quiet_until_ns: int
    """No reflex begins before: the one that began last cools down."""
    fired_ns: int
    """When it last fired, also while a reflex lasts or cools down."""

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """Take one record (`weight` events between `since_ns` and `now_ns`); True: it fires."""


class RateTest:
    """More than `burst` events beyond a steady rate: the generic cell rate algorithm (ITU-T I.371).

    A record that stands for many events is taken as if all had come at `since_ns`: a lower bound of
    the exact debt, so batching never makes an alarm out of nothing.
    """

    __slots__ = ("_arrival_ns", "_interval_ns", "fired_ns", "quiet_until_ns", "statistic", "threshold")
    kind = "rate"

    def __init__(self, parameters: Rate) -> None:
        self._interval_ns = parameters.interval_ns
        self._arrival_ns = 0
        self.threshold: float = parameters.burst
        self.statistic: float = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. The statistic is the debt in events."""
        start = self._arrival_ns if self._arrival_ns > since_ns else since_ns
        self._arrival_ns = start + weight * self._interval_ns
        debt = self._arrival_ns - now_ns
        self.statistic = debt / self._interval_ns if debt > 0 else 0.0
        return self.statistic > self.threshold


class LevelTest:
    """A value above a level."""

    __slots__ = ("fired_ns", "quiet_until_ns", "statistic", "threshold")
    kind = "level"

    def __init__(self, parameters: Level) -> None:
        self.threshold: float = parameters.above
        self.statistic: float = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. The statistic is the value."""
        self.statistic = value
        return self.statistic > self.threshold


def is_open(test: Test) -> bool:
    """Whether an alarm lasts of which the kernel tells the end, however long it is silent before."""
    return isinstance(test, BetsTest) and test.statistic >= test.threshold


def make_test(parameters: Parameters, budget: Budget | None = None, *, replayed: bool = False) -> Test:
    """A fresh test of a rule's kind, with a budget of its own unless it shares one.

    `replayed`: there is no kernel that bets, all is done here.
    """
    if budget is None:
        budget = Budget(allowance_ns(parameters))
    match parameters:
        case Rate():
            return RateTest(parameters)
        case Level():
            return LevelTest(parameters)
        case Poisson():
            return PoissonTest(budget)
        case Betting(above=above):
            return ReplayedBets(above, budget) if replayed else BetsTest(above, budget)
        case Rare(interval_ns=interval_ns):
            return RareTest(interval_ns, budget)
        case Pressure(above=above):
            return PressureTest(above)
        case _:
            assert_never(parameters)
