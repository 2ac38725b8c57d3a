"""A CSV of (time, value[, key]), or what `reflexarc record` wrote, as samples of one signal.

The first row of a CSV may name the columns, in any order. Times are numbers in one unit, or ISO 8601; what
they are counted from does not matter. Knows nothing of policies.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from math import isfinite
from typing import Final, NamedTuple

import msgspec

NS_OF: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
MOST: Final = 2**63
NAMES: Final = ("time", "value", "key")


class Sample(NamedTuple):
    """One row."""

    written: str
    """Its time as it stands in the file."""
    time_ns: int
    value: int | float
    key: str


class Bad(NamedTuple):
    """One row that cannot be taken, and why."""

    line: int
    reason: str


class Line(msgspec.Struct, frozen=True):
    """One event as it was recorded."""

    time_ns: int
    value: int | float
    signal: str
    key: str = ""
    weight: int = 1


def samples(lines: Iterable[str], unit: str = "s", signal: str = "") -> Iterator[Sample | Bad]:
    """Every sample; `unit` is that of a CSV, which does not say of which signal it is."""
    rest = iter(lines)
    first = next(rest, "")
    lines = chain((first,), rest)
    return _recorded(lines, signal) if first.startswith("{") else _listed(lines, unit)


def _recorded(lines: Iterable[str], signal: str) -> Iterator[Sample | Bad]:
    decode = msgspec.json.Decoder(Line).decode
    for number, text in enumerate(lines, 1):
        try:
            line = decode(text)
        except msgspec.DecodeError as error:
            yield Bad(number, str(error))
            continue
        if line.signal != signal:
            yield Bad(number, f"is of {line.signal} and not of {signal}")
        elif abs(line.time_ns) >= MOST or not isfinite(line.value):
            yield Bad(number, "is beyond what can be counted")
        else:
            yield Sample(str(line.time_ns), line.time_ns, line.value, line.key)


def _listed(lines: Iterable[str], unit: str) -> Iterator[Sample | Bad]:
    """Every row but the one with names; empty ones are left out."""
    rows = csv.reader(lines)
    columns: Sequence[int] = (0, 1, 2)
    while True:
        try:
            row = next(rows)
            if rows.line_num == 1 and (named := _columns(row)):
                columns = named
            elif row:
                yield _sample(row, columns, NS_OF[unit])
        except (ValueError, OverflowError, csv.Error) as error:
            yield Bad(rows.line_num, str(error))
        except StopIteration:
            return


def _columns(row: Sequence[str]) -> tuple[int, ...]:
    """Where time, value and key are, if this row says so."""
    names = [cell.strip().lower() for cell in row]
    if "time" not in names or "value" not in names:
        return ()
    return tuple(names.index(name) for name in NAMES if name in names)


def _sample(row: Sequence[str], columns: Sequence[int], ns: int) -> Sample:
    cells = [row[column].strip() for column in columns if column < len(row)]
    if len(cells) < 2:
        raise ValueError("has no value")
    time_ns = _time_ns(cells[0], ns)
    if abs(time_ns) >= MOST:
        raise ValueError(f"{cells[0]} is no time within 292 years")
    return Sample(cells[0], time_ns, _number(cells[1]), cells[2] if len(cells) > 2 else "")


def _time_ns(text: str, ns: int) -> int:
    """Exact for whole numbers, which in nanoseconds since 1970 are more than a float holds."""
    if text.isdecimal():
        return int(text) * ns
    try:
        return int(_number(text) * ns)
    except ValueError:
        return int(datetime.fromisoformat(text).timestamp() * NS_OF["s"])


def _number(text: str) -> int | float:
    if text.isdecimal() and len(text) <= 20:
        return int(text)
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
