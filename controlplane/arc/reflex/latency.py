"""How long reflexes took, event -> act returned: a histogram with one exemplar a bucket."""

from bisect import bisect_left
from typing import Final

from controlplane.link.frames import Exemplar, Latency

BOUNDS_NS: Final = tuple(
    us * 1000 for us in (20, 35, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 100000)
)
STEP_NS: Final = 100_000_000
"""By which the wall clock must have been set for exemplars to follow."""


class LatencyHistogram:
    """Counts per bucket; the last holds the rest."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self._sum = 0
        self._wall_offset_ns = 0
        self._exemplars: list[tuple[bytes, int, int] | None] = [None] * (len(BOUNDS_NS) + 1)

    def must_observe(self, took_ns: int, trace_id: bytes, now_ns: int) -> None:
        """One reflex. `now_ns` is CLOCK_MONOTONIC."""
        bucket = bisect_left(BOUNDS_NS, took_ns)
        self._counts[bucket] += 1
        self._sum += took_ns
        self._exemplars[bucket] = (trace_id, took_ns, now_ns)

    def snapshot(self, wall_offset_ns: int) -> Latency:
        """For the status; exemplars get wall-clock times, the same each time they are told.

        Prometheus would take one that is told a millisecond later for another.
        """
        if abs(wall_offset_ns - self._wall_offset_ns) > STEP_NS:
            self._wall_offset_ns = wall_offset_ns
        return Latency(
            bounds_ns=BOUNDS_NS,
            counts=tuple(self._counts),
            sum_ns=self._sum,
            exemplars=tuple(
                Exemplar(seen[0], seen[1], seen[2] + self._wall_offset_ns) if seen else None
                for seen in self._exemplars
            ),
        )
