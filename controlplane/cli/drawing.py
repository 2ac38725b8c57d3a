"""Pictures in plain characters: a statistic against its threshold, and a histogram. Pure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import isfinite
from typing import Final, NamedTuple

ROWS: Final = 8
"""Height of a plot."""
MAX_BARS: Final = 24
"""Height of a histogram: narrower buckets are drawn together."""
LABEL: Final = 12
BAR: Final = 28

Label = Callable[[float], str]


class Bar(NamedTuple):
    """Values from `least` up to the next bar's."""

    least: float
    number: int


def plot(values: Sequence[float], threshold: float, label: Label) -> Iterator[str]:
    """A column for each value, the threshold as a dashed line, nothing below 0."""
    heights = [_finite(value) for value in values]
    top = max(*heights, _finite(threshold), 1e-9)
    at = _row(_finite(threshold), top)
    for row in range(ROWS, 0, -1):
        empty = "-" if row == at else " "
        columns = "".join("#" if _row(height, top) >= row else empty for height in heights)
        yield f"{_beside(row, at, top, threshold, label):>{LABEL}} |{columns}".rstrip()
    yield f"{'0':>{LABEL}} +{'-' * len(heights)}"


def _row(height: float, top: float) -> int:
    """How many rows it fills, a part of one included."""
    return -int(-height / top * ROWS // 1)


def _beside(row: int, at: int, top: float, threshold: float, label: Label) -> str:
    if row == at:
        return label(threshold)
    return label(top) if row == ROWS else ""


def _finite(value: float) -> float:
    return max(0.0, value) if isfinite(value) else 0.0


def histogram(bars: Sequence[Bar], marks: Sequence[tuple[float, str]], label: Label) -> Iterator[str]:
    """A row for each bar, and beside it the marks that lie in it: (value, what it is)."""
    bars = merged(bars)
    most = max((bar.number for bar in bars), default=0) or 1
    ends = [*(following.least for _, following in pairwise(bars)), float("inf")]
    for number, (bar, end) in enumerate(zip(bars, ends, strict=True)):
        least = float("-inf") if number == 0 else bar.least
        marked = ", ".join(name for value, name in marks if least <= value < end)
        length = -(-max(0, bar.number) * BAR // most)
        beside = f"  <- {marked}" if marked else ""
        yield f"{label(bar.least):>{LABEL}} |{'#' * length:{BAR}} {max(0, bar.number):>9,}{beside}"


def merged(bars: Sequence[Bar]) -> list[Bar]:
    """The same values in at most `MAX_BARS`."""
    size = -(-len(bars) // MAX_BARS) or 1
    parts = [bars[start : start + size] for start in range(0, len(bars), size)]
    return [Bar(part[0].least, sum(bar.number for bar in part)) for part in parts]
