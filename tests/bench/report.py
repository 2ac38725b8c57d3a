"""What a benchmark says: a table for people and, last, one JSON line for machines. Measures nothing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Options:
    """Of one run; 0 is the benchmark's own default."""

    count: int = 0
    """Reflexes, runs or rounds, whatever is counted."""
    seconds: int = 0
    """Length of what takes time."""
    only: tuple[str, ...] = ()
    """Of those that are compared, just these; all without any."""
    patience: int = 1
    """How many times slower than a real one the machine is: what waits for time waits so much longer."""


@dataclass(frozen=True)
class Figure:
    """One measured number beside its peer's in the same run, and what it should be at most."""

    value: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    aim: float | None = None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; `ordered` ascends and is not empty."""
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def conclude(bench: str, figures: dict[str, Figure]) -> None:
    """Print the table of figures and the JSON line."""
    rows = [("", "value", "peer", "ratio", "aim", "unit")]
    for name, figure in figures.items():
        numbers = (figure.value, figure.peer, figure.ratio, figure.aim)
        value, peer, ratio, aim = map(_number, numbers)
        rows.append((name, value, peer, ratio, aim, figure.unit))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    print()
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ", row[0].ljust(widths[0]), " ", "  ".join(cells), sep="")
    print(json.dumps({"bench": bench, "figures": {name: asdict(figure) for name, figure in figures.items()}}))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) >= 10 else f"{value:.2f}"
