"""The last records of a stream, kept so that a finding can be explained. Pure.

One block of memory, made with the first record and written over in turn. Nobody reads it unless a test
has fired.
"""

from typing import Final

from controlplane.arc.kernel.events import Event
from controlplane.link.samples import SAMPLE, TIME_AND_WEIGHT

RECORDS: Final = 32
"""Kept of a stream: 1.4 KB, and none of a stream that was never told."""
SIZE: Final = SAMPLE.size
END: Final = RECORDS * SIZE
must_pack_into: Final = SAMPLE.pack_into


class Trail:
    """The last records which one rule has taken in one place, whatever process they name."""

    __slots__ = ("_at", "_full", "_packed")

    def __init__(self) -> None:
        self._packed = bytearray()
        self._at = END
        self._full = False

    def must_note(self, event: Event, time_ns: int, value: float, weight: int, statistic: float) -> None:
        """One record, and what the test made of it; time, value and weight are the event's."""
        at = self._at
        if at == END:
            at = self._must_turn()
        blamed = event.culprit or event.cgroup
        packed, pid, parent = self._packed, event.pid, event.parent
        must_pack_into(packed, at, time_ns, value, statistic, weight, pid, parent, blamed)
        self._at = at + SIZE

    def _must_turn(self) -> int:
        if self._packed:
            self._full = True
        else:
            self._packed = bytearray(END)
        return 0

    def must_copy(self) -> bytes:
        """All of them, the oldest first."""
        packed, at = self._packed, self._at
        if self._full:
            return bytes(packed[at:]) + bytes(packed[:at])
        return bytes(packed[:at])

    def weight_since(self, time_ns: int) -> int:
        """Kernel events for which those stand that are not older."""
        if not self._packed or SAMPLE.unpack_from(self._packed, self._at - SIZE)[0] < time_ns:
            return 0
        return sum(
            weight for told_ns, weight in TIME_AND_WEIGHT.iter_unpack(self._packed) if told_ns >= time_ns
        )
