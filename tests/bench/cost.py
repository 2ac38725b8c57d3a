"""Nanoseconds per update and bytes per stream of every test in Python, beside peers."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from time import process_time_ns
from typing import Final

from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.betting import BettingTest
from controlplane.arc.monitor.budget import Fixed
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.levels import PressureTest, SlopeTest
from controlplane.arc.monitor.ratios import ExceedanceTest, RareTest, RatioTest
from controlplane.arc.monitor.tests import LevelTest, RateTest
from controlplane.link.rules import NS, Level, Rate
from tests.bench.detectors import MS, NOMINAL, VALUES
from tests.bench.report import Figure, Options, conclude
from tests.unit.arc.monitor.series import latencies

ROUNDS: Final = 20
UPDATES: Final = 20_000
STREAMS: Final = 100
"""Made at once, to see what one takes."""
AIM: Final = 600.0
TESTS: Final[dict[str, Callable[[], monitored.Test]]] = {
    "betting": lambda: BettingTest(NOMINAL),
    "poisson": lambda: PoissonTest(Fixed(NOMINAL)),
    "ratio": lambda: RatioTest(0.01, NOMINAL),
    "rare": lambda: RareTest(MS, Fixed(NOMINAL)),
    "exceedance": lambda: ExceedanceTest(0.01, NOMINAL),
    "pressure": lambda: PressureTest(10),
    "slope": lambda: SlopeTest(NOMINAL),
    "rate": lambda: RateTest(Rate(NS, 100)),
    "level": lambda: LevelTest(Level(MS)),
}


def main(options: Options) -> int:
    """The quickest of some rounds: others' work on this machine only ever adds."""
    rounds = options.count or ROUNDS
    values = [*islice(latencies(Random(1)), UPDATES)]
    calls = quickest(lambda: empty_calls(values), rounds)
    figures = {"call of an empty function": Figure(round(calls), "ns")}
    for name, make in TESTS.items():
        test = make()
        took = quickest(lambda test=test: updates(test, values), rounds)  # type: ignore[misc]
        figures[name] = Figure(round(took), "ns", aim=AIM if name == "betting" else None)
        figures[f"{name}.stream"] = Figure(round(bytes_of(make)), "bytes")
    for name in ("PageHinkley", "ADWIN", "SPOT"):
        update = VALUES[name]().update
        took = quickest(lambda update=update: plain_updates(update, values), rounds)  # type: ignore[misc]
        figures[name] = Figure(round(took), "ns")
    print(f"\nquickest of {rounds} rounds of {UPDATES:,} updates, processor time")
    conclude("cost", figures)
    return 0


def quickest(once: Callable[[], object], rounds: int) -> float:
    """Nanoseconds per update."""
    return min(timed(once) for _ in range(rounds))


def timed(once: Callable[[], object]) -> float:
    start = process_time_ns()
    once()
    return (process_time_ns() - start) / UPDATES


def updates(test: monitored.Test, values: list[int]) -> None:
    """Records one by one, as the arc feeds them."""
    update, now = test.must_update, 0
    for value in values:
        update(now, now, value, 1)
        now += MS


def plain_updates(update: Callable[[float], bool], values: list[int]) -> None:
    for value in values:
        update(value)


def empty_calls(values: list[int]) -> None:
    """What of it is Python's loop and call."""
    for value in values:
        nothing(0, 0, value, 1)


def nothing(_now: int, _since: int, _value: float, _weight: int) -> bool:
    return False


def bytes_of(make: Callable[[], monitored.Test]) -> float:
    """Of one stream, once it has been fed."""
    values: Iterator[int] = latencies(Random(2))
    tracemalloc.start()
    tests = [make() for _ in range(STREAMS)]
    for test in tests:
        updates(test, [*islice(values, 500)])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / STREAMS
