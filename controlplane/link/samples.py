"""The records that led a stream to a finding, packed: as the arc keeps and the journal holds them. Pure."""

import struct
from typing import Final, NamedTuple


class Sample(NamedTuple):
    """One record as a test took it."""

    time_ns: int
    value: float
    statistic: float
    """What the test had, with this record."""
    weight: int
    """Kernel events it stood for."""
    pid: int
    """Process it names; 0: none."""
    parent: int
    """Of that process."""
    who: int
    """Cgroup that ran instead, else the one it is about, which is at work or waits; 0: unknown."""


SAMPLE: Final = struct.Struct("<qddIIIQ")


TIME_AND_WEIGHT: Final = struct.Struct("<q16xI16x")
"""Of a packed record these two only, where there are many."""


def samples_in(packed: bytes) -> list[Sample]:
    """In the order in which they were packed; a torn last one is left out."""
    whole = len(packed) - len(packed) % SAMPLE.size
    return [Sample._make(fields) for fields in SAMPLE.iter_unpack(packed[:whole])]


def pack(samples: list[Sample]) -> bytes:
    """Inverse of `samples_in`."""
    return b"".join(SAMPLE.pack(*sample) for sample in samples)
