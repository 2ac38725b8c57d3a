"""What betting costs in the kernel: ns a value beside an empty program, bytes a stream, 10,000 streams live.

Values of the bench's own choosing, by BPF_PROG_TEST_RUN, timed by the kernel's own statistics of programs
(which cost some 20 ns a run themselves, so what counts are differences). Conditions alternate.
"""

import resource
import time
from collections.abc import Callable, Iterable
from random import Random
from statistics import median
from typing import Final

from controlplane.arc.kernel.events import BET, ODDS, VALUE_STREAM, Event, EventKind, Gate
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.gates import BETS, NO_LEVEL, OPEN, ROUND_NS
from controlplane.link.rules import NS
from tests.bench.report import Figure, Options, conclude
from tests.bench.storm import counting_runs
from tests.bench.testbed import watchdog
from tests.kernel.placing import Placing

SIGNAL: Final = "block.latency"
KEY: Final = 2**40
ROUNDS: Final = 5
VALUES: Final = 20_000
STREAMS: Final = 10_000
AIM_NS: Final = 60.0
CONDITIONS: Final[dict[str, int]] = {"closed": 0, "counted": OPEN, "bets": OPEN | BETS}
WEEK_NS: Final = 7 * 24 * 3600 * NS


def main(options: Options) -> int:
    """Nanoseconds first, then the many streams."""
    rounds = options.count or ROUNDS
    sensors = Sensors()
    try:
        with (
            watchdog(300),
            counting_runs(),
            Placing(sensors.shared()) as placing,
        ):
            found = costs(sensors, placing, rounds)
            figures = many(sensors, placing)
    finally:
        sensors.close()
    empty = found.pop("empty")
    for name, took in found.items():
        aim = AIM_NS if name == "bets" else None
        figures[f"{name}.over_empty"] = Figure(round(took - empty, 1), "ns", aim=aim)
    figures["betting_itself"] = Figure(round(found["bets"] - found["counted"], 1), "ns")
    figures["kernel.stream"] = Figure(BET.size + ODDS.size + VALUE_STREAM.size, "bytes")
    print(f"\nmedians of {rounds} rounds of {VALUES:,} values")
    conclude("bets", figures)
    return 0


def costs(sensors: Sensors, placing: Placing, rounds: int) -> dict[str, float]:
    """Nanoseconds a value by condition; `empty` is a program that does nothing."""
    draw = Random(1)
    values = [int(draw.lognormvariate(10, 2)) for _ in range(VALUES)]
    taken: dict[str, list[float]] = {}
    book = Book(sensors)
    for _ in range(rounds):
        for name, how in CONDITIONS.items():
            sensors.set_gates({each: gate(how if each == SIGNAL else 0) for each in sensors.numbers})
            taken.setdefault(name, []).append(timed(placing, lambda value: placing.value(KEY, value), values))
            book.drain()
        taken.setdefault("empty", []).append(timed(placing, lambda _: placing.nothing(), values))
    return {name: median(each) for name, each in taken.items()}


def gate(how: int) -> Gate:
    """Nothing is told of values themselves."""
    return Gate(ROUND_NS if how else 0, NO_LEVEL if how else 0, 0, how)


def timed(placing: Placing, run: Callable[[int], None], values: Iterable[int]) -> float:
    """Nanoseconds a run of the placing program, by the kernel."""
    before = placing.run_time()
    for value in values:
        run(value)
    after = placing.run_time()
    return (after[0] - before[0]) / (after[1] - before[1])


class Book:
    """The ring, and a bookmaker who takes what it has of one signal."""

    def __init__(self, sensors: Sensors) -> None:
        self.ring = sensors.open_ring()
        self.test = BetsTest(0, Budget(WEEK_NS))
        self.maker = Bookmaker(sensors.bets)
        self.number = sensors.numbers[SIGNAL]
        self.took_ns: list[int] = []

    def drain(self) -> None:
        """Everything there is."""
        while self.ring.must_drain(self._feel):
            pass

    def _feel(self, event: Event) -> None:
        if event.kind == EventKind.SUMMARY and event.signal == self.number:
            start = time.perf_counter_ns()
            self.maker.summarise(event, [self.test])
            self.took_ns.append(time.perf_counter_ns() - start)


def many(sensors: Sensors, placing: Placing) -> dict[str, Figure]:
    """As many streams as there are to be, each of which has had its first table."""
    book, draw = Book(sensors), Random(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for stream in range(STREAMS):
        for _ in range(256):
            placing.value(KEY + 1 + stream, int(draw.lognormvariate(10, 2)))
        book.drain()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "streams": Figure(len(book.maker.pasts), "1", aim=STREAMS),
        "arc.stream": Figure(round(grown * 1024 / STREAMS), "bytes"),
        "summary": Figure(round(median(book.took_ns) / 1000, 1), "us"),
    }
