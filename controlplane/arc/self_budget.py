"""The arc's own share of a CPU, bounded: beyond it the dearest sensors are shed, and come back one by one.

Dear is who costs most: its records times the time that one takes, which is measured once half the budget is
used, and the time that its programs ran, where the kernel counts that (kernel.bpf_stats_enabled).

Looked at in passing, at wake-ups; only while something is shed is there a time at which to look. The share is
that of a window that is ten seconds long or, if nothing woke the arc, longer.
"""

import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from controlplane.arc.kernel.sensors import Sensor, Sensors
from controlplane.arc.timing import Timing
from controlplane.link.rules import NS

WINDOW_NS: Final = 10 * NS
LONGEST_WINDOWS: Final = 64
"""A sensor that is shed again at once stays so for twice as many windows, up to some ten minutes."""
WHOLE: Final = 10_000
USUAL_NS: Final = 10_000
"""Of a record, before any was timed: all that matters is that it is the same for all."""


class Cost(NamedTuple):
    """Of one sensor in a window."""

    records: int
    felt_ns: int
    """To feel them."""
    run_ns: int
    """Of its programs in the kernel; 0 where it does not count."""


class Shed(NamedTuple):
    """A sensor that rests, and until when at least."""

    sensor: Sensor
    until_ns: int


Tell = Callable[[str, str, Literal["info", "warn"]], None]
"""Takes the name of a notice, its text and its severity."""


class SelfBudget:
    """Of one arc."""

    def __init__(
        self,
        share: int,
        sensors: Sensors,
        timing: Timing,
        tell: Tell,
        used: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """`share` of one CPU, in hundredths of a percent; `used`: nanoseconds of CPU time of this process."""
        self._share = share
        self._sensors = sensors
        self._timing = timing
        self._tell = tell
        self._used = used
        self._began_ns = 0
        self._used_ns = 0
        self._felt: tuple[int, ...] = ()
        self._spent_ns: tuple[int, ...] = ()
        self._run_ns: dict[str, int] = {}
        self._each_ns: dict[int, int] = {}
        """Time that one record takes, by number of its signal, when it was last measured."""
        self._shed: list[Shed] = []
        self._windows: dict[str, int] = {}
        """For how many a sensor is shed the next time."""

    def begin(self, now_ns: int) -> None:
        """What was used before does not count."""
        self._began_ns, self._used_ns = now_ns, self._used()
        self._felt, self._spent_ns = tuple(self._timing.records), tuple(self._timing.spent_ns)
        self._run_ns = {sensor.name: sensor.run_ns() for sensor in self._sensors.own}

    def tend(self, now_ns: int) -> None:
        """At a wake-up, when its acts are done: once a window, shed one sensor or let one back."""
        lasted_ns = now_ns - self._began_ns
        if not self._began_ns or lasted_ns < WINDOW_NS:
            return
        share = (self._used() - self._used_ns) * WHOLE // lasted_ns
        if self._timing.on:
            self._measure()
        self._timing.follow(wanted=share > self._share // 2)
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
        costs = [(self._cost(sensor), sensor) for sensor in self._sensors.own if sensor.name not in resting]
        felt = [each for each in costs if each[0].records]
        if not felt:
            return
        cost, sensor = max(felt, key=lambda each: each[0].felt_ns + each[0].run_ns)
        windows = self._windows.get(sensor.name, 1)
        self._windows[sensor.name] = min(2 * windows, LONGEST_WINDOWS)
        self._shed.append(Shed(sensor, now_ns + windows * WINDOW_NS))
        reason = (
            f"shed: the arc used {share / 100:g}% of a CPU, self_budget is {self._share / 100:g}%, "
            f"and {_words(cost)} were its own"
        )
        self._sensors.shed(sensor, reason)
        self._tell("sensor.shed", f"{sensor.name}: {reason}", "warn")

    def _measure(self) -> None:
        """What a record of each signal took in a window in which that was timed."""
        for number, spent_ns in enumerate(self._timing.spent_ns):
            records = self._timing.records[number] - self._felt[number]
            if records and spent_ns > self._spent_ns[number]:
                self._each_ns[number] = (spent_ns - self._spent_ns[number]) // records

    def _cost(self, sensor: Sensor) -> Cost:
        """Of which no record was ever timed is taken to be as dear as others are on average."""
        known = self._each_ns.values()
        usual_ns = sum(known) // len(known) if known else USUAL_NS
        numbers = [self._sensors.numbers[signal] for signal in sensor.signals]
        felt = {number: self._timing.records[number] - self._felt[number] for number in numbers}
        felt_ns = sum(count * self._each_ns.get(number, usual_ns) for number, count in felt.items())
        return Cost(sum(felt.values()), felt_ns, sensor.run_ns() - self._run_ns.get(sensor.name, 0))

    def _let_back(self, shed: Shed) -> None:
        self._sensors.restore(shed.sensor)
        self._tell("sensor.restored", f"{shed.sensor.name} feels again", "info")


def _words(cost: Cost) -> str:
    ran = f" and {cost.run_ns / 1e6:,.0f} ms of its programs" if cost.run_ns else ""
    return f"{cost.records:,} records, some {cost.felt_ns / 1e6:,.0f} ms{ran},"
