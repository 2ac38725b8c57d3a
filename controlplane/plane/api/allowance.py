"""Each caller's share of a server: calls under way, and changes a second.

Without it one client could take all there is: the calls of its server, or the records of calls that the arc
journals. What one connection may cost is in `aio_server`.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 100
"""Calls under way of one identity, watches included."""
BURST: Final = 64
PER_S: Final = 16
"""Changes of one identity, on average; each is two records, and the arc journals 64 of them a second."""


class Allowance:
    """Counts by identity: of those who have a role, so there are no more than the configuration names."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        self._changes: dict[str, tuple[float, float]] = {}
        """(changes left, when that was so), by identity."""

    def exceeded(self, identity: str, *, changes: bool) -> str:
        """Why there can be no more now, or nothing; a change that may be is counted."""
        if self._under_way[identity] >= AT_ONCE:
            return f"you have {AT_ONCE} calls under way"
        if changes and not self._spent(identity):
            return f"more than {PER_S} changes a second: try again in a second"
        return ""

    def begin(self, identity: str) -> None:
        """A call is under way."""
        self._under_way[identity] += 1

    def end(self, identity: str) -> None:
        """It is no more."""
        self._under_way[identity] -= 1

    def _spent(self, identity: str) -> bool:
        now = self._clock()
        left, since = self._changes.get(identity, (float(BURST), now))
        left = min(BURST, left + (now - since) * PER_S)
        self._changes[identity] = (left - 1 if left >= 1 else left, now)
        return left >= 1
