"""Average run length: events between alarms while nothing is wrong, at a nominal 10,000, beside peers."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Final

from tests.bench import series
from tests.bench.detectors import COUNTS, NOMINAL, OTHERS, VALUES, Detector, Maker
from tests.bench.report import Figure, Options, conclude

EVENTS: Final = 200_000
"""Per stream: at the nominal rate 20 alarms, so a number is good to a quarter."""
SETTLING: Final = 4096
"""Events at first in which alarms are not counted, for any of them."""
SEED: Final = 1
OWN: Final = ("betting", "reference", "exceedance", *COUNTS, *OTHERS)


def main(options: Options) -> int:
    """Tables by kind of stream, and for each of our tests the worst of its streams."""
    events = options.count or EVENTS
    values = measured(VALUES, series.VALUES, events)
    counts = measured(COUNTS, series.WAITS, events)
    others = {
        **measured({"ratio": OTHERS["ratio"]}, {"failures, 1 %": series.trials}, events),
        **measured({"rare": OTHERS["rare"]}, {"Poisson, as stated": series.WAITS["Poisson"]}, events),
        **measured({"slope": OTHERS["slope"]}, {"noise": series.wavering_level, "walk": series.walk}, events),
    }
    for title, found in (("values", values), ("counts", counts), ("others", others)):
        show(title, found, events)
    conclude("arl", figures({**values, **counts, **others}, events))
    return 0


Found = dict[str, dict[str, int]]
"""Alarms by detector and stream."""


def measured(
    makers: Mapping[str, Maker], streams: Mapping[str, Callable[[Random], Iterator[float]]], events: int
) -> Found:
    """All detectors see the same values."""
    found: Found = {name: {} for name in makers}
    for stream, make in streams.items():
        values = [*islice(make(Random(SEED)), events + SETTLING)]
        for name, maker in makers.items():
            found[name][stream] = alarms(maker(), values)
    return found


def alarms(detector: Detector, values: list[float]) -> int:
    """Alarms that began after the settling."""
    for value in values[:SETTLING]:
        detector.update(value)
    before, number = False, 0
    for value in values[SETTLING:]:
        now = detector.update(value)
        number += now and not before
        before = now
    return number


def show(title: str, found: Found, events: int) -> None:
    """A row per stream, a column per detector."""
    streams = list(dict.fromkeys(stream for row in found.values() for stream in row))
    print(f"\n{title}: events per alarm in {events:,}, nominal {NOMINAL:,}")
    print(" " * 20, *(f"{name:>12}" for name in found))
    for stream in streams:
        print(f"  {stream:18}", *(f"{length(found[name].get(stream), events):>12}" for name in found))


def length(number: int | None, events: int) -> str:
    """`>200,000` where there was no alarm at all."""
    if number is None:
        return ""
    return f"{events // number:,}" if number else f">{events:,}"


def figures(found: Found, events: int) -> dict[str, Figure]:
    """Of each detector, its shortest run length over all streams; aim: half of nominal for ours."""
    result = {}
    for name, row in found.items():
        worst = events / max(1, *row.values(), 1)
        aim = NOMINAL / 2 if name in OWN else None
        result[f"{name}.worst"] = Figure(round(worst), "events", ratio=round(worst / NOMINAL, 2), aim=aim)
    return result
