"""The second tier is a thousand times rarer than the first, and every test can reach it."""

from collections.abc import Callable
from math import inf

import pytest

from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.budget import Fixed
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.levels import SlopeTest
from controlplane.arc.monitor.ratios import ExceedanceTest, RareTest, RatioTest
from controlplane.arc.monitor.tiers import must_stern
from controlplane.link.rules import NS

MAKE: dict[str, Callable[[int], monitored.Test]] = {
    "poisson": lambda events: PoissonTest(Fixed(events)),
    "ratio": lambda events: RatioTest(0.01, events),
    "rare": lambda events: RareTest(NS, Fixed(events)),
    "exceedance": lambda events: ExceedanceTest(0.01, events),
    "slope": SlopeTest,
}


@pytest.mark.parametrize("kind", MAKE)
def test_it_is_the_threshold_of_a_thousandth_of_the_alarms(kind: str) -> None:
    often, rare = MAKE[kind](1_000_000), MAKE[kind](1_000_000_000)
    assert must_stern(often.kind, often.threshold) == pytest.approx(rare.threshold, rel=1e-4)


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("events", [2, 1000, 10**12])
def test_trouble_that_goes_on_reaches_it(kind: str, events: int) -> None:
    test = MAKE[kind](events)
    now, reached = 0, False
    for step in range(6000):
        trouble = step > 3000
        before, now = now, now + (NS // 1000 if trouble else NS)
        value = float(step * step if kind == "slope" else 1_000_000 if trouble else 1 + step % 7)
        test.must_update(now, before, value, 100 if kind == "ratio" else 1)
        reached = reached or test.statistic >= must_stern(test.kind, test.threshold)
    assert reached


def test_bits_are_ten_more() -> None:
    assert must_stern("histogram", 20.0) == pytest.approx(29.97, abs=0.01)


@pytest.mark.parametrize("kind", ["rate", "level", "pressure", "no such kind"])
def test_what_has_no_chance_of_false_alarm_never_does(kind: str) -> None:
    assert must_stern(kind, 1.0) == inf
