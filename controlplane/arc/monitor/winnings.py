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
    """Of `number` bets, all of which are made before each settlement."""

    __slots__ = ("_each", "mean", "open")

    def __init__(self, number: int) -> None:
        self._each = array("d", [0.0] * number)
        self.mean = 0.0
        self.open = False
        """An alarm has begun and not ended."""

    def must_bet(self, index: int, payoff: float) -> None:
        """Bet `index` pays exp(`payoff`)."""
        self._each[index] = (1.0 + self._each[index]) * exp(payoff if payoff < _EXPONENT else _EXPONENT)

    def must_settle(self, threshold: float) -> None:
        """Once all have bet. An alarm ends far below where it begins, so it does not flutter.

        When it ends, everything begins anew.
        """
        number = len(self._each)
        most, total = MOST * threshold * number, 0.0
        for index in range(number):
            if self._each[index] > most:
                self._each[index] = most
            total += self._each[index]
        self.mean = total / number
        if not self.open:
            self.open = self.mean >= threshold
        elif self.mean < sqrt(threshold):
            self._must_end()

    def _must_end(self) -> None:
        self.open = False
        self.mean = 0.0
        for index in range(len(self._each)):
            self._each[index] = 0.0
