"""Our tests and their peers behind one shape, each at a nominal 10,000 events per alarm."""

from collections.abc import Callable
from importlib import import_module
from math import log, sqrt
from typing import Any, Final, Protocol

from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.betting import BettingTest
from controlplane.arc.monitor.budget import Fixed
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.levels import SlopeTest
from controlplane.arc.monitor.ratios import ExceedanceTest, RareTest, RatioTest
from controlplane.arc.monitor.replayed import ReplayedBets

NOMINAL: Final = 10_000
BATCH: Final = 16
"""Events in a record of the kernel's."""
MS: Final = 1_000_000


class Detector(Protocol):
    """Takes one value at a time."""

    def update(self, value: float) -> bool:
        """Whether it is in alarm."""


class Ours:
    """A test that takes values."""

    def __init__(self, test: monitored.Test) -> None:
        self.test = test

    def update(self, value: float) -> bool:
        """See `Detector`."""
        return self.test.must_update(0, 0, value, 1)


class InKernel:
    """Bets as the kernel makes them, at odds as the arc sets them; a hundred values a second."""

    def __init__(self) -> None:
        self._test = ReplayedBets(0, Fixed(NOMINAL))
        self._now_ns = 0

    def update(self, value: float) -> bool:
        """See `Detector`."""
        self._now_ns += 10 * MS
        self._test.must_update(self._now_ns, 0, value, 1)
        return self._test.open


class OnWaits:
    """A test that takes counts: given the waits between events, told of `batch` of them at once."""

    def __init__(self, test: monitored.Test, batch: int) -> None:
        self._test, self._batch = test, batch
        self._now = self._since = self._pending = 0
        self._alarm = False

    def update(self, value: float) -> bool:
        """See `Detector`."""
        self._now += int(value)
        self._pending += 1
        if self._pending == self._batch:
            self._alarm = self._test.must_update(self._now, self._since, self._pending, self._pending)
            self._since, self._pending = self._now, 0
        return self._alarm


class Scale:
    """Mean and deviation over the last thousand values or so, weighted exponentially."""

    def __init__(self) -> None:
        self._number = 0
        self._mean = self._variance = 0.0

    def relative(self, value: float) -> float:
        """The value in deviations from the mean so far; then it is part of both."""
        self._number += 1
        weight = max(1 / self._number, 0.001)
        difference = value - self._mean
        result = difference / sqrt(self._variance) if self._variance > 0 else 0.0
        self._mean += weight * difference
        self._variance = (1 - weight) * (self._variance + weight * difference * difference)
        return result


class ZScore:
    """Above 3.72 deviations: one in 10,000, if values were normal."""

    def __init__(self) -> None:
        self._scale = Scale()

    def update(self, value: float) -> bool:
        """See `Detector`."""
        return self._scale.relative(value) > 3.72


class Cusum:
    """Page's, for a shift by one deviation, with the threshold for 10,000 normal values."""

    def __init__(self, transform: Callable[[float], float] = float) -> None:
        self._transform = transform
        self._scale = Scale()
        self._sum = 0.0

    def update(self, value: float) -> bool:
        """See `Detector`."""
        relative = max(-5.0, min(5.0, self._scale.relative(self._transform(value))))
        self._sum = max(0.0, self._sum + relative - 0.5)
        if self._sum < 7.35:
            return False
        self._sum = 0.0
        return True


class River:
    """One of river's drift detectors, as it comes."""

    def __init__(self, name: str, *, scaled: bool, **settings: Any) -> None:  # noqa: ANN401  # they are river's
        self._detector = getattr(import_module("river.drift"), name)(**settings)
        self._scale = Scale() if scaled else None

    def update(self, value: float) -> bool:
        """See `Detector`."""
        self._detector.update(self._scale.relative(value) if self._scale else value)
        return bool(self._detector.drift_detected)


class Spot:
    """libspot's, with one in 10,000 as its risk, fitted to the first 2,000 values."""

    def __init__(self) -> None:
        libspot = import_module("libspot")
        self._spot = libspot.Spot(q=1 / NOMINAL)
        self._anomaly = libspot.ANOMALY
        self._first: list[float] = []

    def update(self, value: float) -> bool:
        """See `Detector`."""
        if len(self._first) < 2000:
            self._first.append(value)
            if len(self._first) == 2000:
                self._spot.fit(import_module("numpy").array(self._first))
            return False
        return bool(self._spot.step(value) == self._anomaly)


Maker = Callable[[], Detector]
VALUES: Final[dict[str, Maker]] = {
    "betting": InKernel,
    "reference": lambda: Ours(BettingTest(NOMINAL)),
    "exceedance": lambda: Ours(ExceedanceTest(0.01, NOMINAL)),
    "z-score": ZScore,
    "CUSUM": Cusum,
    "PageHinkley": lambda: River("PageHinkley", scaled=True, mode="up"),
    "ADWIN": lambda: River("ADWIN", scaled=False),
    "SPOT": Spot,
}
KNOWING: Final[dict[str, Maker]] = {"CUSUM of logarithms": lambda: Cusum(log)}
"""Peers that are told how the values are distributed."""
COUNTS: Final[dict[str, Maker]] = {"poisson": lambda: OnWaits(PoissonTest(Fixed(NOMINAL)), BATCH)}
OTHERS: Final[dict[str, Maker]] = {
    "ratio": lambda: Ours(RatioTest(0.01, NOMINAL)),
    "rare": lambda: OnWaits(RareTest(MS, Fixed(NOMINAL)), 1),
    "slope": lambda: Ours(SlopeTest(NOMINAL)),
}
