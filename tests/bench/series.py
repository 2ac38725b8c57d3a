"""Made-up streams on which tests are measured: latencies in nanoseconds, waits between events. Endless."""

from collections.abc import Callable, Iterator
from itertools import count
from math import exp, pi, sin, sqrt
from random import Random
from typing import Final

from tests.unit.arc.monitor.series import (
    autoregressive,
    bursty_gaps,
    bursty_latencies,
    clusters,
    gaps,
    latencies,
)

DAY: Final = 86_400
"""Events, at one a second."""


def normal(random: Random) -> Iterator[float]:
    """N(0, 1), not even a latency."""
    return (random.gauss(0, 1) for _ in count())


def pareto(random: Random) -> Iterator[float]:
    """Tail exponent 1.5: no variance."""
    return (10_000 * random.paretovariate(1.5) for _ in count())


def ar(correlation: float) -> Callable[[Random], Iterator[float]]:
    """Lognormal with an autoregressive logarithm."""
    return lambda random: latencies(random, correlation)


def diurnal(random: Random) -> Iterator[float]:
    """Higher by day, lower by night, by 30 %."""
    return (
        value * (1 + 0.3 * sin(2 * pi * at / DAY)) for at, value in enumerate(latencies(random, spread=0.8))
    )


def modes(random: Random) -> Iterator[float]:
    """One in ten takes another way, forty times as long."""
    for value in latencies(random, spread=0.3):
        yield value * (40 if random.random() < 0.1 else 1)


VALUES: Final[dict[str, Callable[[Random], Iterator[float]]]] = {
    "N(0,1)": normal,
    "lognormal": latencies,
    "Pareto 1.5": pareto,
    "AR(1) .3": ar(0.3),
    "AR(1) .6": ar(0.6),
    "AR(1) .9": ar(0.9),
    "bursty": bursty_latencies,
    "diurnal": diurnal,
    "two modes": modes,
}


def wavering_waits(random: Random) -> Iterator[int]:
    """The rate itself wanders, by a factor of 1.5 up and down, over thousands of events."""
    level = autoregressive(random, 0.999)
    return (int(wait * exp(0.4 * next(level))) for wait in gaps(random))


def diurnal_waits(random: Random) -> Iterator[int]:
    """Busier by day, by 30 %."""
    return (int(wait / (1 + 0.3 * sin(2 * pi * at / DAY))) for at, wait in enumerate(gaps(random)))


WAITS: Final[dict[str, Callable[[Random], Iterator[int]]]] = {
    "Poisson": gaps,
    "clusters of 8": clusters,
    "bursty": bursty_gaps,
    "wavering": wavering_waits,
    "diurnal": diurnal_waits,
}


def trials(random: Random, share: float = 0.01) -> Iterator[bool]:
    """Failures, one in a hundred."""
    return (random.random() < share for _ in count())


def wavering_level(random: Random) -> Iterator[float]:
    """A quantity around one gigabyte, with noise of 1 %."""
    return (1e9 * (1 + 0.01 * value) for value in autoregressive(random, 0.5))


def walk(random: Random) -> Iterator[float]:
    """A quantity that wanders and leaks nothing."""
    value = 1e9
    while True:
        value += 1e5 * random.gauss(0, 1) / sqrt(2)
        yield value
