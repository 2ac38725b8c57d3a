"""The alarm budget of a rule: a time per false alarm becomes a number of tests per false alarm. Pure.

All streams of the rule share it, and say when they decide. Where r tests a second decide, and a time t is
allowed per alarm, a test may fire by chance once in r t times. r is followed with weights that fade: a
test's chance is then no more than what it adds to the logarithm of all weights, times ten minutes over t,
and that logarithm loses 1 in ten minutes. So however unevenly tests come, the budget is kept in the long run.
"""

from math import exp, log
from typing import Final

from controlplane.link.rules import MAX_EVENTS, NS

MEMORY_NS: Final = 600 * NS
"""Time in which the weight of a test falls to 1/e."""
LEAST_AGE_NS: Final = NS
"""A budget has been in use for so long at least: its first test counts as one a second."""
SHARE: Final = 64
REFRESH_NS: Final = NS // 10
"""The rate is worked out when it has grown by a 64th, or after a tenth of a second."""
LEAST: Final = 2.0
MOST: Final = float(MAX_EVENTS)
NO_CLOCK: Final = 2**80
"""Later than any time, so that the first one told is taken as the beginning of a clock."""


class Budget:
    """Of one rule. Time is that of events; it may stand still or go back a little.

    A clock that has gone back by more than the memory is another clock, and is followed from there.
    """

    __slots__ = (
        *("_age_ns", "_due_ns", "_enough", "_pending", "_told_ns", "_weight"),
        *("allowed_ns", "events", "nats", "streams"),
    )

    def __init__(self, allowed_ns: int) -> None:
        """`allowed_ns`: time per alarm that means nothing, over all streams; 0: the rule states none."""
        self.allowed_ns = allowed_ns
        self._age_ns = 0
        self._weight = 0.0
        """Of all tests so far, each at first 1."""
        self._pending = 0
        """Tests that are not weighed yet."""
        self._enough = 1
        self._told_ns = NO_CLOCK
        self._due_ns = 0
        self.streams = 0
        """That share it, as long as they live."""
        self.events = MOST
        """Tests between two alarms that are allowed, at least 2."""
        self.nats = log(MOST)
        """Its logarithm."""
        self._must_set(1.0)

    def must_count(self, tests: int, now_ns: int) -> None:
        """So many tests decide, at the time of an event."""
        self._pending += tests
        if self._pending >= self._enough or now_ns >= self._due_ns:
            self._must_weigh(now_ns)

    def rate_per_s(self, now_ns: int) -> float:
        """Tests a second, if there has been none since the last."""
        elapsed = now_ns - self._told_ns
        faded = exp(-elapsed / MEMORY_NS) if elapsed > 0 else 1.0
        return (
            NS * (self._weight * faded + self._pending) / self._must_span_ns(self._age_ns + max(0, elapsed))
        )

    def _must_weigh(self, now_ns: int) -> None:
        elapsed = now_ns - self._told_ns
        if elapsed > 0:
            self._age_ns += elapsed
            self._weight *= exp(-elapsed / MEMORY_NS)
        if elapsed > 0 or elapsed < -MEMORY_NS:
            self._told_ns = now_ns
            self._due_ns = now_ns + REFRESH_NS
        self._weight += self._pending
        self._enough = int(self._weight / SHARE) or 1
        self._pending = 0
        self._must_set(self._weight)

    def _must_set(self, weight: float) -> None:
        events = weight * self.allowed_ns / self._must_span_ns(self._age_ns)
        self.events = LEAST if events < LEAST else events if events < MOST else MOST
        self.nats = log(self.events)

    def _must_span_ns(self, age_ns: int) -> float:
        """Time that all weights together stand for."""
        age = age_ns if age_ns > LEAST_AGE_NS else LEAST_AGE_NS
        return MEMORY_NS * (1 - exp(-age / MEMORY_NS))


class Fixed(Budget):
    """So many tests per alarm however often there are any: for recordings and benchmarks."""

    __slots__ = ()

    def __init__(self, events: float) -> None:
        super().__init__(0)
        self.events = float(events)
        self.nats = log(events)

    def must_count(self, tests: int, now_ns: int) -> None:
        """They change nothing."""
