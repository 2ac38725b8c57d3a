"""What is due and when: steps, undos, and looks at what was done. One heap, for which one timer is armed.

Knows times and whose they are, not what is to be done then.
"""

import heapq
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from controlplane.arc.reflex.plans import Rung
from controlplane.arc.reflex.telling import Reflex


class What(IntEnum):
    """What is due."""

    STEP = 0
    """A rung is to be taken."""
    UNDO = 1
    """The act of a span is to be taken back."""
    ASK = 2
    """The kernel is to be asked for the effect of a span, of which no event tells."""
    GIVE_UP = 3
    """The effect of a span has been waited for long enough."""
    QUIET = 4
    """The signal may have been quiet for as long as its policy asks for."""
    OVER = 5
    """A storm of findings may be over."""


# A member of an enum is found slower than a constant.
STEP, UNDO, ASK, GIVE_UP, QUIET, OVER = map(int, What)


class Due(NamedTuple):
    """One thing."""

    at_ns: int
    order: int
    what: int
    reflex: Reflex
    rung: Rung | None = None
    span_id: bytes = b""
    asked: int = 0
    """How often the kernel was asked before, and once more."""


class Agenda:
    """All that is due. Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._heap: list[Due] = []
        self._order = 0

    def must_add(
        self,
        at_ns: int,
        what: int,
        reflex: Reflex,
        rung: Rung | None = None,
        span_id: bytes = b"",
        asked: int = 0,
    ) -> None:
        """What is due at the same time comes in the order in which it was added."""
        self._order += 1
        heapq.heappush(self._heap, Due(at_ns, self._order, what, reflex, rung, span_id, asked))

    def next_ns(self, is_stale: Callable[[Due], bool]) -> int:
        """Time of the earliest that is not stale, 0 when nothing is due."""
        while self._heap and is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0].at_ns if self._heap else 0

    def take(self, now_ns: int) -> Due | None:
        """The earliest, if its time has come."""
        if self._heap and self._heap[0].at_ns <= now_ns:
            return heapq.heappop(self._heap)
        return None

    def __iter__(self) -> Iterator[Due]:
        return iter(self._heap)
