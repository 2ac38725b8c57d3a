"""Made-up streams: how their values are distributed, and how they hang together."""

from collections.abc import Iterator
from itertools import repeat
from math import exp, sqrt
from random import Random


def autoregressive(random: Random, correlation: float) -> Iterator[float]:
    """AR(1) with variance 1."""
    value = random.gauss(0, 1)
    while True:
        yield value
        value = correlation * value + sqrt(1 - correlation * correlation) * random.gauss(0, 1)


def latencies(random: Random, correlation: float = 0.0, spread: float = 1.0) -> Iterator[int]:
    """Lognormal nanoseconds around 100 us."""
    return (int(100_000 * exp(spread * value)) for value in autoregressive(random, correlation))


def gaps(random: Random, mean_ns: int = 1_000_000) -> Iterator[int]:
    """Exponential nanoseconds between the events of a Poisson process."""
    return (int(random.expovariate(1 / mean_ns)) + 1 for _ in repeat(None))


def clusters(random: Random, size: int = 8, mean_ns: int = 1_000_000) -> Iterator[int]:
    """Nanoseconds between events that come `size` at a time."""
    while True:
        yield int(random.expovariate(1 / (size * mean_ns))) + 1
        for _ in range(int(random.expovariate(1 / size))):
            yield mean_ns // 100


def bursty_latencies(random: Random) -> Iterator[int]:
    """Spells of 200 events on average at three times the values, 600 on average between them."""
    factor = 1
    for value in latencies(random, spread=0.5):
        if random.random() < (1 / 600 if factor == 1 else 1 / 200):
            factor = 4 - factor
        yield factor * value


def bursty_gaps(random: Random) -> Iterator[int]:
    """Spells of 200 events on average at four times the rate, 400 on average between them."""
    factor = 1
    for wait in gaps(random):
        if random.random() < (1 / 400 if factor == 1 else 1 / 200):
            factor = 5 - factor
        yield wait // factor
