"""The second tier: how sure a test must be before an act that cannot be undone. Pure.

What can be undone may follow a chance of false alarm of alpha, what cannot one of alpha / 1000. The second
threshold follows from the first, wherever that moves, and from the scale of the test's statistic.
"""

from math import inf, log, log2
from typing import Final

STERNER: Final = 1000.0
NATS: Final = log(STERNER)
BITS: Final = log2(STERNER)
SLOPE_HEIGHT: Final = 2.5
"""Of a slope's threshold, per factor e of events: pi / 2 for independent normal ones, more for a walk."""
WINNINGS: Final = frozenset({"betting", "exceedance", "rare", "ratio"})
"""Kinds whose statistic is reached once in so many events, as it says."""


def must_stern(kind: str, threshold: float) -> float:
    """Threshold of the second tier of a learned test; out of reach where its scale is not known."""
    if kind in WINNINGS:
        return STERNER * threshold
    if kind == "poisson":
        return threshold + NATS
    if kind == "histogram":
        return threshold + BITS
    if kind == "slope":
        return threshold + SLOPE_HEIGHT * NATS
    return inf
