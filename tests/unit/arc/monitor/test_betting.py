"""Histogram betting: fair odds, no more alarms than stated, a baseline that only healthy values teach."""

import math
from array import array
from copy import deepcopy
from functools import cache
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.betting import CEILING, MEMORY, WARM_UP, Baseline, BettingTest, must_payoff
from controlplane.arc.monitor.buckets import BUCKETS, must_bucket
from controlplane.link.rules import NS
from tests.unit.arc.monitor.series import bursty_latencies, latencies

EVENTS = 10_000
USED = 12
"""Buckets a made-up histogram uses."""


def feed(test: BettingTest, values: list[int] | list[float]) -> list[bool]:
    return [test.must_update(NS, NS, value, 1) for value in values]


def healthy(number: int, seed: int = 1, correlation: float = 0.0) -> list[int]:
    return list(islice(latencies(Random(seed), correlation), number))


@cache
def _taught(number: int) -> BettingTest:
    test = BettingTest(EVENTS)
    assert not any(feed(test, healthy(number)))
    return test


def taught(number: int = 4 * WARM_UP) -> BettingTest:
    """One that knows healthy values."""
    return deepcopy(_taught(number))


def alarms(fired: list[bool]) -> int:
    """Times it began to fire."""
    return sum(now and not before for before, now in zip([False, *fired], fired, strict=False))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40))
def test_the_mean_payoff_is_one(counts: list[int]) -> None:
    """Under the very distribution that set the odds."""
    total = sum(counts)
    mean = sum(
        count / total * must_payoff(count, sum(counts[bucket + 1 :]), total)
        for bucket, count in enumerate(counts)
    )
    assert mean == pytest.approx(1)


@given(st.lists(st.integers(0, MEMORY // USED), min_size=USED, max_size=USED))
def test_odds_count_the_value_that_is_bet_on(counts: list[int]) -> None:
    baseline = Baseline()
    baseline.must_learn(array("I", [*counts, *[0] * (BUCKETS - USED)]), sum(counts))
    baseline.must_set_odds()
    for bucket in range(USED):
        seen = [*counts]
        seen[bucket] += 1
        payoff = must_payoff(seen[bucket], sum(seen[bucket + 1 :]) + 1, sum(seen) + 1)
        assert baseline.payoffs[bucket] == pytest.approx(payoff)


def test_a_payoff_is_the_mean_of_the_calibrator() -> None:
    """Integral of 1 / (2 sqrt(p)) over the ranks of the bucket."""
    steps = 100_000
    low, high = 0.2, 0.5
    ranks = ((low + (high - low) * (i + 0.5) / steps) for i in range(steps))
    mean = sum(0.5 / math.sqrt(rank) for rank in ranks) / steps
    assert must_payoff(30, 20, 100) == pytest.approx(mean, rel=1e-6)


def test_it_does_not_fire_before_it_is_warm() -> None:
    test = BettingTest(2)
    assert not any(feed(test, [*healthy(WARM_UP // 2), *[10**9] * (WARM_UP // 3)]))


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_healthy_streams_fire_no_oftener_than_stated(correlation: float) -> None:
    number = 100_000
    fired = feed(BettingTest(EVENTS), healthy(number, seed=2, correlation=correlation))
    assert alarms(fired) <= 2 * number / EVENTS


def test_bursts_are_not_taken_for_changes() -> None:
    """Not even while they are new: bets rest until their distance is settled."""
    number, seeds = 60_000, (0, 1, 4)
    streams = [[*islice(bursty_latencies(Random(seed)), number)] for seed in seeds]
    assert (
        sum(alarms(feed(BettingTest(EVENTS), values)) for values in streams) <= len(seeds) * number / EVENTS
    )


@pytest.mark.parametrize(("factor", "delay"), [(2.7, 80), (7.4, 25), (55, 15)])
def test_a_shift_is_found(factor: float, delay: int) -> None:
    test = taught()
    fired = feed(test, [int(value * factor) for value in healthy(delay, seed=3)])
    assert fired[-1]
    assert test.statistic >= test.threshold == EVENTS


def test_values_that_fall_are_no_trouble() -> None:
    assert not any(feed(taught(), [1] * 1000))


def test_an_alarm_ends_soon_after_its_reason() -> None:
    test = taught()
    assert feed(test, [10**9] * 100)[-1]
    assert test.statistic == CEILING * EVENTS
    assert not any(feed(test, healthy(200, seed=4))[100:])


def test_anomalies_do_not_teach_the_baseline() -> None:
    test = taught()
    before = array("f", test._baseline.counts)
    for seed in range(5):
        assert feed(test, [10**9] * 200)[-1]
        feed(test, healthy(2000, seed=seed))
    assert test._baseline.counts[must_bucket(10**9)] == before[must_bucket(10**9)]
    assert feed(test, [10**9] * 60)[-1]


def test_a_change_for_good_is_taken_for_normal_once() -> None:
    test = taught()
    fired = feed(test, [10 * value for value in healthy(3 * MEMORY, seed=6)])
    assert (fired[MEMORY // 2], test.adapted) == (True, 1)
    assert not any(fired[MEMORY + 200 : 2 * MEMORY])


def test_a_slow_drift_is_no_alarm() -> None:
    number = 60_000
    values = [int(value * (1 + index / number)) for index, value in enumerate(healthy(number, seed=7))]
    assert alarms(feed(BettingTest(EVENTS), values)) <= 2 * number / EVENTS


def test_old_values_fade() -> None:
    test = BettingTest(10**9)
    feed(test, healthy(4 * MEMORY))
    assert test._baseline.total == pytest.approx(MEMORY)


@given(st.lists(st.integers(-(2**64), 2**64) | st.floats(), max_size=50), st.booleans())
def test_bad_input_never_fires_out_of_nothing(values: list[float], warm: bool) -> None:  # noqa: FBT001
    test = taught(WARM_UP + 512) if warm else BettingTest(EVENTS)
    for value in values:
        test.must_update(0, 2**63, value, 0)
        assert 0 <= test.statistic <= CEILING * EVENTS
    if not warm:
        assert test.statistic == 0


def test_what_is_not_a_number_is_passed_over() -> None:
    test = taught()
    statistic, left = test.statistic, test._left
    assert not any(feed(test, [math.nan] * 10_000))
    assert (test.statistic, test._left) == (statistic, left)


def test_constant_values_never_fire() -> None:
    for value in (0, -5, 7, 2**63, math.inf):
        assert not any(feed(BettingTest(100), [value] * 5000))
