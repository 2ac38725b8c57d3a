"""The tests of a stream, called 100,000 times, leave no allocated block behind."""

import gc
import sys
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest

from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.betting import BettingTest
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.levels import PressureTest, SlopeTest
from controlplane.arc.monitor.ratios import ExceedanceTest, RareTest, RatioTest
from tests.unit.arc.monitor.series import latencies

TIMES = 100_000
SLACK = 64
"""Blocks the interpreter itself may take and keep."""

TESTS: dict[str, Callable[[], monitored.Test]] = {
    "betting": lambda: BettingTest(10_000),
    "poisson": lambda: PoissonTest(Budget(3600 * 10**9)),
    "ratio": lambda: RatioTest(0.01, 10_000),
    "rare": lambda: RareTest(10**9, Budget(3600 * 10**9)),
    "exceedance": lambda: ExceedanceTest(0.01, 10_000),
    "pressure": lambda: PressureTest(10),
    "slope": lambda: SlopeTest(10_000),
}


def run(test: monitored.Test, values: list[int]) -> None:
    now = 0
    for value in values:
        now += value
        test.must_update(now, now - value, value, 1)


@pytest.mark.parametrize("name", TESTS)
def test_nothing_is_kept(name: str) -> None:
    test = TESTS[name]()
    values = list(islice(latencies(Random(1)), 10_000))
    run(test, values)
    gc.collect()
    gc.disable()
    before = sys.getallocatedblocks()
    for _ in range(TIMES // len(values)):
        run(test, values)
    after = sys.getallocatedblocks()
    gc.enable()
    assert after - before < SLACK
