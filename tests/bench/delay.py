"""Events until a shift is found, beside peers; and whether each keeps its rate of false alarms there."""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from statistics import median
from typing import Final

from tests.bench import arl, series
from tests.bench.detectors import COUNTS, KNOWING, NOMINAL, VALUES, Maker
from tests.bench.report import Figure, Options, conclude, percentile

SHIFTS: Final = (1.6, 2.7, 7.4)
TRIALS: Final = 40
BEFORE: Final = 6000
"""Healthy events before a shift."""
MOST: Final = 3000
"""Events after which a shift counts as not found."""
STREAMS: Final[dict[str, Callable[[Random], Iterator[float]]]] = {
    name: series.VALUES[name] for name in ("lognormal", "AR(1) .6")
}


def main(options: Options) -> int:
    """A table per stream; figures for ours beside the quickest peer that keeps its rate untold."""
    trials = options.count or TRIALS
    figures: dict[str, Figure] = {}
    for stream, make in STREAMS.items():
        makers = {**VALUES, **KNOWING}
        found = {name: delays(maker, make, trials, faster=False) for name, maker in makers.items()}
        honest = keeping(makers, stream)
        show(stream, found, honest)
        peers = [name for name in honest if name not in {*arl.OWN, *KNOWING}]
        for shift in SHIFTS:
            ours = found["betting"][shift][0]
            best = min((found[name][shift][0] for name in peers), default=None)
            ratio = round(ours / best, 2) if best else None
            figures[f"{stream} x{shift}"] = Figure(ours, "events", best, ratio, 1.0 if best else None)
    for stream in ("Poisson", "clusters of 8"):
        found = {
            name: delays(maker, series.WAITS[stream], trials, faster=True) for name, maker in COUNTS.items()
        }
        show(f"counts, {stream}", found, [*COUNTS])
        for shift in SHIFTS:
            figures[f"{stream} x{shift}"] = Figure(found["poisson"][shift][0], "events")
    conclude("delay", figures)
    return 0


Delays = dict[float, tuple[float, float]]
"""Median and 90th percentile by shift."""


def delays(maker: Maker, make: Callable[[Random], Iterator[float]], trials: int, *, faster: bool) -> Delays:
    """Each trial has a detector and a stream of its own; `faster`: values are waits, and shrink."""
    result = {}
    for shift in SHIFTS:
        found = sorted(
            delay(maker, make(Random(trial)), 1 / shift if faster else shift) for trial in range(trials)
        )
        result[shift] = (median(found), percentile(found, 0.9))
    return result


def delay(maker: Maker, values: Iterator[float], factor: float) -> int:
    """Events until an alarm after the shift; one that was already on when it came is let go by first."""
    detector = maker()
    for value in islice(values, BEFORE):
        detector.update(value)
    for _ in range(MOST):
        if not detector.update(next(values)):
            break
    for number, value in enumerate(islice(values, MOST), 1):
        if detector.update(factor * value):
            return number
    return MOST


def keeping(makers: dict[str, Maker], stream: str) -> list[str]:
    """Those with at most twice the alarms they state."""
    found = arl.measured(makers, {stream: series.VALUES[stream]}, arl.EVENTS // 2)
    return [name for name, row in found.items() if row[stream] <= arl.EVENTS / NOMINAL]


def show(stream: str, found: dict[str, Delays], honest: list[str]) -> None:
    """A row per detector."""
    print(f"\n{stream}: median and 90th percentile of events until a shift is found; {MOST} is not found")
    print(" " * 24, *(f"x{shift:<16}" for shift in SHIFTS), "keeps its rate")
    for name, row in found.items():
        cells = (f"{middle:6.0f} {late:6.0f}    " for middle, late in row.values())
        print(f"  {name:22}", *cells, "yes" if name in honest else "no")
