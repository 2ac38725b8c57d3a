"""How many events lie between two bets, so that these are as good as independent. Pure.

Every accumulating test takes a run of alike values for a change, if it takes values that depend on one
another for independent ones. The remedy is to bet on every n-th event alone, and n follows from what was
measured: it doubles while scores that far apart still correlate, and halves when those half as far do not.
"""

from typing import Final

WINDOW: Final = 256
"""Scores per measurement: the standard error of a correlation is 1/16."""
TOO_ALIKE: Final = 0.2
ALIKE_NOT: Final = 0.03
MAX_HALF: Final = 512
LEAST_VARIANCE: Final = 1e-9


REST: Final = 3 * WINDOW
"""Looks between two measurements, once bets are independent."""


class Thinning:
    """The scores of every `half`-th event are looked at, so that two distances are measured at once."""

    __slots__ = (
        "_before",
        "_count",
        "_far",
        "_last",
        "_most",
        "_near",
        "_squares",
        "_sum",
        "half",
        "rest",
        "settled",
    )

    def __init__(self, most: int = MAX_HALF) -> None:
        """`most`: events between two looks at most."""
        self._most = most
        self.half = 0
        """Events between two looks, of which the second is a bet; 0: every event is one."""
        self._last = self._before = 0.0
        self._count = 0
        self._sum = self._squares = self._near = self._far = 0.0
        self.rest = 0
        """Looks until the next measurement, counted down by whoever looks."""
        self.settled = False
        """The last measurement found bets independent."""

    @property
    def every(self) -> int:
        """Events per bet."""
        return 2 * self.half or 1

    def must_measure(self, score: float) -> None:
        """Take the score of the event that is looked at."""
        self._count += 1
        self._near += score * self._last
        self._far += score * self._before
        self._sum += score
        self._squares += score * score
        self._before = self._last
        self._last = score
        if self._count == WINDOW:
            self._must_close()

    def must_doubt(self) -> None:
        """Measure now: an alarm may come of dependence as well."""
        self.rest = 0

    def _must_close(self) -> None:
        self.must_judge(WINDOW, self._sum, self._squares, self._near, self._far)
        self._count = 0
        self._sum = self._squares = self._near = self._far = 0.0

    def must_judge(self, count: int, total: float, squares: float, near: float, far: float) -> None:
        """By sums over `count` scores, their squares, and products with the last and the last but one."""
        mean = total / count
        variance = squares / count - mean * mean
        if variance > LEAST_VARIANCE:
            self._must_adapt((near / count - mean * mean) / variance, (far / count - mean * mean) / variance)
        else:
            self.settled = True
        if self.settled:
            self.rest = REST

    def _must_adapt(self, near: float, far: float) -> None:
        alike = far if self.half else near
        self.settled = alike <= TOO_ALIKE
        if not self.settled and self.half < self._most:
            self.half = 2 * self.half or 1
        elif self.half and near <= ALIKE_NOT:
            self.half //= 2
