"""Histogram betting in whole numbers, with exactly the arithmetic of bpf/bets.h. Pure.

S = max(0, S + L[b]) with L = 64 log2 of the payoff, rounded down, and an alarm at S >= 64 log2(1/alpha). 1 +
M of the reference is at least 2^(S/64), so whenever this form fires on a table, the reference does, too: it
is never the more alarming one. What it gives away is that it keeps the best start of a change instead of the
sum over all starts.
"""

from array import array
from math import floor, log2
from typing import Final

from controlplane.arc.kernel.events import Bet
from controlplane.arc.monitor.betting import FIRST_TABLE
from controlplane.arc.monitor.buckets import BUCKETS

UNIT: Final = 64
"""Of the statistic and the table in a bit."""
AGAIN: Final = 4096
NO_NEWS: Final = 0
DUE: Final = 1
NEWS: Final = 2


def bits_table(payoffs: "array[float]") -> "array[int]":
    """Payoffs in 64ths of a bit, as 16-bit numbers; a payoff is above 0."""
    return array("h", (_rounded(UNIT * log2(payoff)) for payoff in payoffs))


def _rounded(bits: float) -> int:
    return max(-(2**15), min(2**15 - 1, floor(bits)))


class IntegerBets:
    """One slot: struct bet, and struct odds against it."""

    __slots__ = (
        *("_before", "_far", "_gathered", "_histogram", "_last", "_looks", "_near", "_opened", "_squares"),
        *("_sum", "_wait", "due", "half", "has_odds", "most", "over", "scores", "statistic"),
        *("threshold", "told"),
    )

    def __init__(self, buckets: int = BUCKETS) -> None:
        self._histogram = array("I", bytes(4 * buckets))
        self._gathered = self._wait = self._opened = self._looks = self._last = self._before = 0
        self._sum = self._squares = self._near = self._far = 0
        self.statistic = self.told = 0
        self.has_odds = False
        self.threshold = self.over = self.most = self.half = 0
        self.due = FIRST_TABLE
        self.scores = array("h", bytes(2 * buckets))

    def must_set(
        self, threshold: int, over: int, most: int, half: int, due: int, scores: "array[int]"
    ) -> None:
        """See struct odds."""
        self.threshold, self.over, self.most = threshold, over, most
        self.half, self.due, self.scores = half, due, scores
        self.has_odds = True

    def must_take(self, bucket: int) -> int:
        """One value; DUE and NEWS if the kernel would tell of it."""
        self._histogram[bucket] += 1
        self._gathered += 1
        late = self._gathered - self.due
        told = DUE if late >= 0 and late % AGAIN == 0 else NO_NEWS
        if not self.has_odds:
            return told
        score = self.scores[bucket]
        return told | NEWS if self._must_take_part(score) and self._must_win(score) else told

    def _must_take_part(self, score: int) -> bool:
        wait = self._wait
        if not wait or wait == self.half:
            self._must_measure(score)
        if wait:
            self._wait = wait - 1
            return False
        self._wait = 2 * self.half - 1 if self.half else 0
        return True

    def _must_measure(self, score: int) -> None:
        self._sum += score
        self._squares += score * score
        self._near += score * self._last
        self._far += score * self._before
        self._before = self._last
        self._last = score
        self._looks += 1

    def _must_win(self, score: int) -> bool:
        statistic = self.statistic + score
        statistic = 0 if statistic < 0 else statistic if statistic < self.most else self.most
        self.statistic = statistic
        if not self._must_be_news(statistic):
            return False
        if self.told and statistic < self.over:
            self.statistic = statistic = 0
        self.told = statistic
        return True

    def _must_be_news(self, statistic: int) -> bool:
        if not self.told:
            self._opened = 0
            return statistic >= self.threshold and self.most > 0
        self._opened += 1
        grown = statistic >= self.told + UNIT
        return statistic < self.over or grown or not self._opened & self._opened - 1

    def counted(self) -> Bet:
        """As the kernel has it."""
        return Bet(
            *(self._gathered, self._wait, self.statistic, self.told, self._opened, self._looks),
            *(self._last, self._before, self._sum, self._squares, self._near, self._far),
            self._histogram.tobytes(),
        )
