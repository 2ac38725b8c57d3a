"""The log-linear histogram: four buckets an octave, from 2^-20 to 2^40. Pure arithmetic.

Whole numbers, all there are in the kernel, use the part from `WHOLE` on: bucket `i` there is this one's `i
+ WHOLE`.
"""

from math import frexp
from typing import Final

PARTS: Final = 4
"""Buckets an octave: a value is known to a quarter of its octave, 19 to 25 %."""
FLOOR: Final = 2.0**-20
CEILING: Final = 2.0**40
"""18 minutes in nanoseconds, a tebibyte in bytes: nothing beyond needs telling apart."""
_OFFSET: Final = 73
LAST: Final = 241
"""Where everything from `CEILING` on lies; below `FLOOR`, and below zero, it is 0."""
BUCKETS: Final = LAST + 1
WHOLE: Final = 80


def must_bucket(value: int | float) -> int:
    """Index of a value's bucket; -1 for what is not a number."""
    if FLOOR <= value < CEILING:
        if isinstance(value, int):  # all there are in the arc, and cheaper so
            octave = value.bit_length()
            return (value << 3 >> octave) + octave * PARTS + _OFFSET
        mantissa, exponent = frexp(value)
        return int(mantissa * 8) + exponent * PARTS + _OFFSET
    if value >= CEILING:
        return LAST
    return 0 if value < FLOOR else -1


def lower_bound(bucket: int) -> float:
    """Smallest value of a bucket; 0 for the first."""
    octave, part = divmod(bucket - 1, PARTS)
    return (PARTS + part) * 2.0**octave * FLOOR / PARTS if bucket else 0.0
