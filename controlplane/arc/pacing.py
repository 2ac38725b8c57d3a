"""So much at once and so much a second: what a plane gone wild can ask of the arc, whatever it is."""

from typing import Final

_NS: Final = 1_000_000_000


class Pace:
    """A bucket of `burst` that fills at `per_s`."""

    def __init__(self, burst: int, per_s: int) -> None:
        self._burst = burst
        self._per_s = per_s
        self._credit = float(burst)
        self._counted_ns = 0

    def admits(self, now_ns: int) -> bool:
        """Whether there is one left; it is taken."""
        earned = (now_ns - self._counted_ns) * self._per_s / _NS
        self._credit = min(self._burst, self._credit + earned)
        self._counted_ns = now_ns
        if self._credit < 1:
            return False
        self._credit -= 1
        return True
