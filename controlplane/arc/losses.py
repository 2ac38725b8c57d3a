"""Events that the kernel side could not hand over: read from its counters, told once per burst."""

import time
from collections.abc import Callable

from controlplane.arc.kernel.sensors import Sensors
from controlplane.link.records import Lost


class Losses:
    """Remembers what has been told."""

    def __init__(self, sensors: Sensors, tell: Callable[[Lost], None]) -> None:
        self._sensors = sensors
        self._tell = tell
        self._told: dict[tuple[str, str], int] = {}

    def look(self) -> None:
        """Tell what was lost since the last look."""
        for sensor in self._sensors.all:
            for reason, total in sensor.lost().items():
                new = total - self._told.get((sensor.name, reason), 0)
                if new:
                    self._told[sensor.name, reason] = total
                    self._tell(
                        Lost(time_ns=time.monotonic_ns(), sensor=sensor.name, reason=reason, count=new)
                    )
