"""The arc's own share of a CPU, bounded: beyond it the dearest sensors are shed, and come back one by one.

Looked at in passing, at wake-ups; only while something is shed is there a time at which to look. The share is
that of a window that is ten seconds long or, if nothing woke the arc, longer.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from controlplane.arc.kernel.sensors import Sensor, Sensors
from controlplane.link.rules import NS

WINDOW_NS: Final = 10 * NS
LONGEST_WINDOWS: Final = 64
"""A sensor that is shed again at once stays so for twice as many windows, up to some ten minutes."""
WHOLE: Final = 10_000


class Shed(NamedTuple):
    """A sensor that rests, and until when at least."""

    sensor: Sensor
    until_ns: int


Tell = Callable[[str, str, Literal["info", "warn"]], None]
"""Takes the name of a notice, its text and its severity."""


class SelfBudget:
    """Of one arc. What a sensor costs it are the records that it feels, one as dear as another."""

    def __init__(
        self,
        share: int,
        sensors: Sensors,
        records: Sequence[int],
        tell: Tell,
        used: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """`share` of one CPU, in hundredths of a percent; `records` felt so far, by number of their signal.

        `used`: nanoseconds of CPU time of this process.
        """
        self._share = share
        self._sensors = sensors
        self._records = records
        self._tell = tell
        self._used = used
        self._began_ns = 0
        self._used_ns = 0
        self._felt: tuple[int, ...] = ()
        self._shed: list[Shed] = []
        self._windows: dict[str, int] = {}
        """For how many a sensor is shed the next time."""

    def begin(self, now_ns: int) -> None:
        """What was used before does not count."""
        self._began_ns, self._used_ns = now_ns, self._used()
        self._felt = tuple(self._records)

    def tend(self, now_ns: int) -> None:
        """At a wake-up, when its acts are done: once a window, shed one sensor or let one back."""
        lasted_ns = now_ns - self._began_ns
        if not self._began_ns or lasted_ns < WINDOW_NS:
            return
        share = (self._used() - self._used_ns) * WHOLE // lasted_ns
        if share > self._share:
            self._shed_dearest(share, now_ns)
        elif self._shed and share <= self._share // 2 and self._shed[-1].until_ns <= now_ns:
            self._let_back(self._shed.pop())
        self.begin(now_ns)

    def next_due(self) -> int:
        """When to look again; 0 while nothing is shed."""
        return self._began_ns + WINDOW_NS if self._shed else 0

    def _shed_dearest(self, share: int, now_ns: int) -> None:
        resting = {shed.sensor.name for shed in self._shed}
        felt = [(self._felt_of(sensor), sensor) for sensor in self._sensors.own if sensor.name not in resting]
        number, sensor = max(felt, key=lambda each: each[0], default=(0, None))
        if sensor is None or not number:
            return
        windows = self._windows.get(sensor.name, 1)
        self._windows[sensor.name] = min(2 * windows, LONGEST_WINDOWS)
        self._shed.append(Shed(sensor, now_ns + windows * WINDOW_NS))
        reason = (
            f"shed: the arc used {share / 100:g}% of a CPU, self_budget is {self._share / 100:g}%, "
            f"and {number:,} records were its own"
        )
        self._sensors.shed(sensor, reason)
        self._tell("sensor.shed", f"{sensor.name}: {reason}", "warn")

    def _felt_of(self, sensor: Sensor) -> int:
        numbers = [self._sensors.numbers[signal] for signal in sensor.signals]
        return sum(self._records[number] - self._felt[number] for number in numbers)

    def _let_back(self, shed: Shed) -> None:
        self._sensors.restore(shed.sensor)
        self._tell("sensor.restored", f"{shed.sensor.name} feels again", "info")
