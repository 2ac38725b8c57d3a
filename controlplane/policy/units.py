"""Quantities as people write them, `30s`, `500/s`, `64MiB`, read exactly and strictly.

Pure. A bare number is refused: a quantity without its unit is how a limit ends up a thousand times off.
"""

import re
from fractions import Fraction
from typing import Final

from controlplane.policy.errors import UnitError, shown

NS_OF: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
SECONDS_OF: Final = {"s": 1, "min": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400, "week": 604_800}
BYTES_OF: Final = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}

BITS_OF: Final = {"bit": 1, "kbit": 1000, "Mbit": 1000**2, "Gbit": 1000**3}

HUNDREDTHS_OF: Final = {"%": 100}
WHOLE: Final = 10_000

_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(/?)([A-Za-z]{1,6}|%)")


def duration_ns(text: object) -> int:
    """Nanoseconds of `250ms`. Raises UnitError, also on a fraction of a nanosecond."""
    hint = "write a number and a unit: 50us, 250ms, 30s, 1m, 2h"
    return _whole(text, "a duration", hint, NS_OF)


def size_bytes(text: object) -> int:
    """Bytes of `64MiB` or `10MB`. Raises UnitError."""
    return _whole(text, "a size", "write a number and a unit: 512B, 64KiB, 10MB, 1GiB", BYTES_OF)


def share(text: object) -> int:
    """Hundredths of a percent of `15%`. Raises UnitError, also on more than 100%."""
    hint = "write a number from 0% to 100%: 0.5%, 15%"
    hundredths = _whole(text, "a share", hint, HUNDREDTHS_OF)
    if hundredths > WHOLE:
        raise UnitError(f"{shown(text)} is more than the whole", hint)
    return hundredths


def percent(text: object) -> int:
    """Hundredths of a percent of `150%`. Raises UnitError."""
    return _whole(text, "a percentage", "write a number of percent: 0.5%, 15%, 150%", HUNDREDTHS_OF)


def bytes_per_s(text: str) -> int:
    """Of `10MiB/s`. Raises UnitError."""
    size, separator, unit = text.partition("/")
    if separator and unit == "s":
        return size_bytes(size)
    raise UnitError(f"{shown(text)} is not so much a second", "write for example 10MiB/s")


def bits_per_s(text: str) -> int:
    """Of `10Mbit/s`. Raises UnitError."""
    hint = "write for example 10Mbit/s, 500kbit/s"
    size, separator, unit = text.partition("/")
    if not separator or unit != "s":
        raise UnitError(f"{shown(text)} is not so much a second", hint)
    return _whole(size, "a number of bits", hint, BITS_OF)


def memory_per_s(text: str, whole: int) -> Fraction:
    """Bytes a second of `64MiB/s`, or of `0.5%/s` of `whole`. Raises UnitError, also on zero."""
    hint = "write an amount per unit of time: 64MiB/s, or of the node's memory, 0.5%/s"
    amount, separator, unit = text.partition("/")
    if not separator or unit not in SECONDS_OF:
        raise UnitError(f"{shown(text)} is not so much memory a second", hint)
    size = Fraction(share(amount) * whole, WHOLE) if amount.endswith("%") else Fraction(size_bytes(amount))
    if not size:
        raise UnitError(f"{shown(text)} is not so much memory a second", hint)
    return size / SECONDS_OF[unit]


def rate_per_s(text: object) -> Fraction:
    """Events per second of `500/s` or `10/min`, exactly. Raises UnitError, also on zero."""
    hint = "write a number per unit of time: 500/s, 10/min, 1/hour, 1/day, 1/week"
    amount, unit = _split(text, "a rate", hint, "/")
    if unit not in SECONDS_OF or not amount:
        raise UnitError(f"{shown(text)} is not a rate", hint)
    return amount / SECONDS_OF[unit]


def value(text: object, unit: str) -> int:
    """A value in a signal's own unit, given in UCUM. Raises UnitError."""
    match unit:
        case "ns":
            return duration_ns(text)
        case "By":
            return size_bytes(text)
        case "%":
            return share(text)
    raise AssertionError(f"no way to write a value in {unit}")


def _whole(text: object, what: str, hint: str, units: dict[str, int]) -> int:
    amount, unit = _split(text, what, hint, "")
    if unit not in units:
        raise UnitError(f"{shown(text)} is not {what}", hint)
    whole = amount * units[unit]
    if whole.denominator != 1:
        raise UnitError(f"{shown(text)} is finer than its smallest unit", hint)
    return whole.numerator


def _split(text: object, what: str, hint: str, separator: str) -> tuple[Fraction, str]:
    found = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[2] != separator:
        raise UnitError(f"{shown(text)} is not {what}", hint)
    return Fraction(found[1]), found[3]
