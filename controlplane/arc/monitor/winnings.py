"""Several bets side by side, each wrong about something else: the mean of their winnings is what counts.

Each is a sum as in the procedure of Shiryaev and Roberts, M <- (1 + M) E; where every E is 1 on average
while nothing is wrong, the mean reaches 1/alpha not oftener than once in 1/alpha records (Shin, Ramdas and
Rinaldo, "E-detectors", 2023).
"""

from array import array
from math import exp, sqrt
from typing import Final

from controlplane.arc.monitor.tiers import STERNER

MOST: Final = 2 * STERNER
"""Winnings at most, in thresholds: enough for the second tier; an alarm is over soon after its reason is."""
_EXPONENT: Final = 700.0
"""exp() of more is no float."""


class Winnings:
    """Of `number` bets against one threshold."""

    __slots__ = ("_each", "_lost", "_most", "mean", "open", "threshold")

    def __init__(self, number: int, events: int) -> None:
        self._each = array("d", [0.0] * number)
        self._most = MOST * events * number
        self._lost = sqrt(events)
        """Winnings below which an alarm is over: so far apart that it does not flutter."""
        self.threshold = float(events)
        self.mean = 0.0
        self.open = False
        """An alarm has begun and not ended."""

    def must_bet(self, index: int, payoff: float) -> None:
        """Bet `index` pays exp(`payoff`)."""
        won = (1.0 + self._each[index]) * exp(payoff if payoff < _EXPONENT else _EXPONENT)
        self._each[index] = won if won < self._most else self._most

    def must_settle(self) -> bool:
        """Once all have bet: whether there is an alarm. When one ends, everything begins anew."""
        total = 0.0
        for winnings in self._each:
            total += winnings
        self.mean = total / len(self._each)
        if self.open and self.mean < self._lost:
            self.open = False
            self.mean = 0.0
            for index in range(len(self._each)):
                self._each[index] = 0.0
        elif self.mean >= self.threshold:
            self.open = True
        return self.open
