"""Between the arc and a child that does for it what takes long: the order, and the report of what came of it.

Each is one msgpack message in a memory file: the order on descriptor 3, the report on 4, and from 5 on files
of the victim, as the act opened them.
"""

from typing import Final, Literal

import msgspec

from controlplane.link.amounts import Way
from controlplane.link.records import Finding

ORDER_FD: Final = 3
REPORT_FD: Final = 4
VICTIM_FD: Final = 5
MAX_DETAIL: Final = 512
"""Bytes of what a program wrote to standard error, and of all else that is told of an errand."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Which act of which reflex on whom."""

    trace_id: str
    """Hexadecimal, as `span_id`."""
    span_id: str
    policy: str
    step: int
    cgroup: int
    path: str
    pid: int = 0
    start_ns: int = 0
    comm: str = ""
    finding: Finding | None = None
    """None where it is not known any more."""


class Reclaim(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Write memory.reclaim, the first file, and read memory.current, the second."""

    number: int
    """Bytes, or a share of what is used in hundredths of a percent."""
    way: Way


class Run(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Run a program with `about` on its standard input."""

    command: tuple[str, ...]
    user: str
    purpose: Literal["act", "undo"]
    about: About


class Gather(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Write down how a victim is. Its file is its directory, of the cgroup or in /proc."""

    state_dir: str
    name: str
    """Of the file that is written."""
    about: About


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One errand and how long it may take."""

    errand: Reclaim | Run | Gather
    timeout_ns: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    error: str = ""
    """Empty: it was done."""
    detail: str = ""
    in_effect: bool = False
    """The kernel shows that it had an effect."""
    deleted: int = 0
    """Older files that were deleted for it."""


ORDERS: Final = msgspec.msgpack.Decoder(Order)
REPORTS: Final = msgspec.msgpack.Decoder(Report)
ENCODER: Final = msgspec.msgpack.Encoder()
