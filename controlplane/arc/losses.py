"""Events that the kernel side could not hand over: read from its counters, told once per burst, and felt.

What is lost is a signal like any other, `events.lost`, so a policy can say what is to be made of it.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from controlplane.arc.kernel.events import Signal
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.kernel.sources import Taking, event_of
from controlplane.link.frames import SensorStatus
from controlplane.link.records import Lost
from controlplane.link.rules import Rule

MOST: Final = 2**32 - 1
"""Events that one record stands for at most."""


class Losses:
    """Remembers what has been told. A source (see `Source`) which has nothing to open."""

    name = "losses"
    reason = ""
    signals: tuple[str, ...] = ("events.lost",)

    def __init__(self, sensors: Sensors, tell: Callable[[Lost], None], taking: Taking, root: int) -> None:
        """`root` is the id of the root cgroup: what is lost is the node's."""
        self._sensors = sensors
        self._tell = tell
        self._taking = taking
        self._root = root
        self._told: dict[tuple[str, str], int] = {}
        self._felt = 0

    def look(self) -> None:
        """Tell what was lost since the last look."""
        now = time.monotonic_ns()
        lost = 0
        for sensor in self._sensors.all:
            for reason, total in sensor.lost().items():
                new = total - self._told.get((sensor.name, reason), 0)
                if new:
                    self._told[sensor.name, reason] = total
                    self._tell(Lost(time_ns=now, sensor=sensor.name, reason=reason, count=new))
                    lost += new
        if lost:
            self._felt += 1
            event = event_of(Signal.EVENTS_LOST, self._root, lost, now, self._root)
            self._taking.must_feel(event._replace(weight=min(lost, MOST)))

    def follow(self, rules: Iterable[Rule]) -> None:
        """See `Source`."""

    def lost(self) -> dict[str, int]:
        """See `Feeler`."""
        return {}

    def status(self) -> SensorStatus:
        """See `Feeler`."""
        seen = sum(self._told.values())
        return SensorStatus(
            name=self.name, attached=True, signals=self.signals, seen=seen, emitted=self._felt
        )

    def close(self) -> None:
        """See `Source`."""
