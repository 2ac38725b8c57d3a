"""Bets on recorded values: what the kernel does and what the arc does, in one place. Pure."""

from array import array

from controlplane.arc.monitor.bets import LN2
from controlplane.arc.monitor.bookmaker import doubt_at, floor_of
from controlplane.arc.monitor.buckets import must_bucket
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.integer import DUE, UNIT, IntegerBets
from controlplane.arc.monitor.past import Past


class ReplayedBets:
    """One stream's bets, for one rule. See `Test`; recorded values may have fractions."""

    __slots__ = (
        "_bets",
        "_budget",
        "_floor",
        "_past",
        "fired_ns",
        "quiet_until_ns",
        "statistic",
        "threshold",
    )
    kind = "histogram"

    def __init__(self, above: int, budget: Budget) -> None:
        """See `BetsTest`."""
        self._bets = IntegerBets()
        self._budget = budget
        self._floor = floor_of(above)
        self._past: Past | None = None
        self.threshold = budget.nats / LN2
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    @property
    def past(self) -> Past | None:
        """What has been learned; None before the first summary."""
        return self._past

    @property
    def open(self) -> bool:
        """An alarm has begun and not ended."""
        return self._bets.told > 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. True when the kernel would tell of an alarm; what is no number is passed over."""
        bucket = must_bucket(value)
        if bucket < 0:
            return False
        told = self._bets.must_take(bucket)
        self.statistic = self._bets.statistic / UNIT
        if told & DUE:
            self._summarise(now_ns)
        if told <= DUE:
            return False
        if self._past is not None:
            self._past.note(self._bets.counted(), now_ns)
        return self.statistic >= self.threshold

    def _summarise(self, now_ns: int) -> None:
        counted = self._bets.counted()
        if self._past is None:
            self._past = Past(now_ns, self._floor, first=0)
        past = self._past
        self._budget.must_count(past.learn(counted, now_ns, doubt_at(self.threshold)), now_ns)
        self.threshold = self._budget.nats / LN2
        made = past.odds(counted.gathered, self.threshold, self.threshold)
        self._bets.must_set(*made[:-1], array("h", made.scores))
