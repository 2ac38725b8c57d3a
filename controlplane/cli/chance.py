"""How likely a finding would be if nothing had changed, in words. Pure."""

from math import exp, exp2, isfinite, log2
from typing import Final

MOST: Final = 1e18
"""Tests; beyond it chances need no telling apart."""
WINNINGS: Final = frozenset({"betting", "exceedance", "rare", "ratio"})
"""Tests whose statistic is the winnings of a fair game."""
LEARNED: Final = WINNINGS | {"poisson", "histogram"}
"""Tests whose threshold is set by how many false alarms are allowed."""
MOST_OVER: Final = 64.0
SPANS: Final = (
    (365.25 * 86400, "year"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def tests_until(kind: str, statistic: float, threshold: float, allowed: float) -> float:
    """Tests that pass, at least, before chance alone brings as much; 0: that is not known.

    `allowed`: tests that pass before chance alone brings the threshold.
    """
    if not (isfinite(statistic) and isfinite(threshold) and 0 < allowed <= MOST):
        return 0.0
    over = statistic - threshold
    if kind in WINNINGS:
        return min(allowed * statistic / threshold, MOST) if threshold > 0 and statistic > 0 else 0.0
    match kind:
        case "poisson":
            return min(allowed * exp(max(-MOST_OVER, min(over, MOST_OVER))), MOST)
        case "histogram":
            return min(allowed * exp2(max(-MOST_OVER, min(over, MOST_OVER))), MOST)
        case _:
            return 0.0


def drawn(kind: str, statistic: float) -> float:
    """The height at which it is drawn: winnings in bits, as they double and halve."""
    return log2(max(1.0, min(statistic, MOST))) if kind in WINNINGS and statistic > 0 else statistic


def chance_words(tests: float, tests_per_s: float, streams: int) -> str:
    """As in `once in 9 days on this node`; in tests, where it is not known how many there are."""
    if tests_per_s <= 0:
        return f"at most once in {tests:,.3g} tests of this policy, if nothing had changed"
    over = f" over {streams:,} streams" if streams > 1 else ""
    return (
        f"at most once in {span_words(tests / tests_per_s)} on this node, if nothing had changed "
        f"({tests:,.3g} tests, {_short(tests_per_s)} a second{over})"
    )


def span_words(seconds: float) -> str:
    """`9 days`, `1 hour`, `0.2 seconds`: two digits say enough."""
    for size, name in SPANS:
        if seconds >= size:
            text = _short(seconds / size)
            return f"{text} {name}{'' if text == '1' else 's'}"
    return f"{seconds:.2g} seconds"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
