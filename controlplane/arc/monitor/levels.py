"""Levels over time: a pressure that stays high, and a quantity that only ever grows."""

from math import exp, inf, log
from typing import Final

from controlplane.arc.monitor.tiers import SLOPE_HEIGHT, must_stern
from controlplane.link.rules import NS

FAST_NS: Final = 10 * NS
SLOW_NS: Final = 60 * NS
HOLD_NS: Final = 3 * NS
"""So long a value stands for the time after it; pressure that goes on is told of every 2 s."""
FADED: Final = FAST_NS / (SLOW_NS - FAST_NS)
TICK_NS: Final = 5 * NS
STILL: Final = 0.85
"""The value may fall to this part within a tick, and the pressure still counts as unabated."""


class PressureTest:
    """High for a minute, high now, and not falling: the rule of oomd's `pressure_rising_beyond`. See `Test`.

    Values are means over 10 s, weighted exponentially as the kernel's own are; the mean over a minute is made
    of them in the same way. A value holds until the next; when none comes there is no pressure, and it fades.
    """

    __slots__ = ("_slow", "_told_ns", "_value", "fired_ns", "quiet_until_ns", "statistic", "threshold")
    kind = "pressure"

    def __init__(self, above: float) -> None:
        """The level above which a pressure is too high, in the unit of its values."""
        self._slow = self._value = 0.0
        self._told_ns = -1
        self.threshold = float(above)
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. The statistic is the smaller of the two means."""
        if not 0 <= value < inf or now_ns < self._told_ns:
            return False
        elapsed = now_ns - self._told_ns if self._told_ns >= 0 else 0
        before = self._value
        self._must_pass(elapsed)
        self._told_ns = now_ns
        self._value = value
        self.statistic = value if value < self._slow else self._slow
        return self.statistic > self.threshold and value >= before * STILL ** (elapsed / TICK_NS)

    def _must_pass(self, elapsed_ns: int) -> None:
        held = elapsed_ns if elapsed_ns < HOLD_NS else HOLD_NS
        self._slow += (self._value - self._slow) * (1 - exp(-held / SLOW_NS))
        fading = elapsed_ns - held
        if fading > 0:
            slow = exp(-fading / SLOW_NS)
            self._slow = self._slow * slow + self._value * FADED * (slow - exp(-fading / FAST_NS))


class SlopeTest:
    """The floor of a quantity keeps rising: CUSUM on the differences of its minima. See `Test`.

    Minima over `SLOT` values, because what is freed now and then is no leak; differences in units of their
    mean size, cut off at `CUT`, so that one leap is no slope.
    """

    __slots__ = (
        *("_count", "_last", "_least", "_scale", "_slots"),
        *("fired_ns", "quiet_until_ns", "statistic", "threshold"),
    )
    kind = "slope"
    SLOT: Final = 16
    WARM_UP: Final = 32
    """Slots before a stream may fire."""
    ALLOWED: Final = 0.5
    """Mean difference that passes for noise."""
    CUT: Final = 3.0
    FADE: Final = 1 / 64

    def __init__(self, events: int) -> None:
        """`events` values pass on average between alarms that mean nothing."""
        self._count = self._slots = 0
        self._least = self._last = self._scale = 0.0
        self.threshold = SLOPE_HEIGHT * log(1 + events / self.SLOT)
        self.statistic = 0.0
        self.quiet_until_ns = 0
        self.fired_ns = 0

    def must_update(self, now_ns: int, since_ns: int, value: float, weight: int) -> bool:
        """See `Test`. The statistic is the sum of differences beyond what is allowed."""
        if value != value:  # noqa: PLR0124  # NaN
            return False
        if not self._count or value < self._least:
            self._least = value
        self._count += 1
        if self._count == self.SLOT:
            self._count = 0
            self._must_take(self._least)
        return self.statistic >= self.threshold

    def _must_take(self, least: float) -> None:
        difference = least - self._last if self._slots else 0.0
        self._slots += 1
        self._last = least
        size = difference if difference > 0 else -difference
        if self._slots > self.WARM_UP and self._scale > 0:
            relative = difference / self._scale
            relative = self.CUT if relative > self.CUT else -self.CUT if relative < -self.CUT else relative
            total = self.statistic + relative - self.ALLOWED
            most = must_stern(self.kind, self.threshold)
            self.statistic = 0.0 if total < 0 else total if total < most else most
        self._scale += (size - self._scale) * self.FADE
