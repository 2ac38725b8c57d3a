"""Histogram betting in whole numbers, with exactly the arithmetic of the kernel side. Pure.

S = max(0, S + L[b]) with L = 64 log2 of the payoff, rounded down, and an alarm at S >= 64 log2(1/alpha),
rounded up. 1 + M of the reference is at least 2^(S/64), so whenever this form fires on a table, the
reference does, too: it is never the more alarming one. What it gives away is that it keeps the best start
of a change instead of the sum over all starts.
"""

from array import array
from math import ceil, floor, log2
from typing import Final

UNIT: Final = 64
"""Of the statistic and the table in a bit."""
MOST: Final = 2**31 - 1


def bits_table(payoffs: "array[float]") -> "array[int]":
    """Payoffs in 64ths of a bit, as 16-bit numbers; a payoff is above 0."""
    return array("h", (_rounded(UNIT * log2(payoff)) for payoff in payoffs))


def bits_threshold(events: int) -> int:
    """Statistic at which to fire, for so many bets between alarms that mean nothing."""
    return ceil(UNIT * log2(events))


def _rounded(bits: float) -> int:
    return max(-(2**15), min(2**15 - 1, floor(bits)))


class IntegerBets:
    """Winnings of one stream against a table of `bits_table`."""

    __slots__ = ("statistic", "table", "threshold")

    def __init__(self, table: "array[int]", events: int) -> None:
        self.table = table
        self.threshold = bits_threshold(events)
        self.statistic = 0

    def must_bet(self, bucket: int) -> bool:
        """Whether it fires; the statistic stays within 31 bits."""
        statistic = self.statistic + self.table[bucket]
        self.statistic = 0 if statistic < 0 else statistic if statistic < MOST else MOST
        return self.statistic >= self.threshold
