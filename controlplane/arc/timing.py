"""What records cost the arc: how many there are of each signal and, while asked for, how long they take.

Decides nothing. Reading the clock twice for each record costs as well, so it is done for a window at a time.
"""

import time
from collections.abc import Callable, Sequence

from controlplane.arc.feeling import Feeling
from controlplane.arc.kernel.events import Event
from controlplane.arc.loop import Loop


class Timing:
    """Of one arc."""

    def __init__(self, loop: Loop, feeling: Feeling, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._loop = loop
        self._must_feel = feeling.must_feel
        self._clock = clock
        self.records: Sequence[int] = feeling.records
        """So far, by number of the signal."""
        self.spent_ns = [0] * len(feeling.records)
        """On those that were timed."""
        self.on = False

    def follow(self, *, wanted: bool) -> None:
        """Time each record from now on, or no longer."""
        if wanted != self.on:
            self.on = wanted
            self._loop.feel_by(self.must_time if wanted else self._must_feel)

    def must_time(self, event: Event) -> None:
        """One record from the ring."""
        began_ns = self._clock()
        self._must_feel(event)
        self.spent_ns[event.signal] += self._clock() - began_ns
