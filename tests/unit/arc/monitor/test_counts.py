"""Poisson-CUSUM: against FOCuS, against its stated rate of alarms, and with clocks that are no clocks."""

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.budget import Budget, Fixed
from controlplane.arc.monitor.counts import LOGARITHMS, MEMORY, MOST, RATIOS, WARM_UP, Dispersion, PoissonTest
from tests.unit.arc.monitor.series import bursty_gaps, clusters, gaps

EVENTS = 10_000
BATCH = 16
MS = 1_000_000


def feed(test: PoissonTest, waits: Iterator[int], number: int, start_ns: int = 0) -> list[bool]:
    """Batches as the kernel tells them: each begins where the one before has ended."""
    fired = []
    now = start_ns
    for _ in range(number // BATCH):
        since = now
        now += sum(islice(waits, BATCH))
        fired.append(test.must_update(now, since, BATCH, BATCH))
    return fired


def alarms(fired: list[bool]) -> int:
    return sum(now and not before for before, now in zip([False, *fired], fired, strict=False))


def test_evidence_is_the_best_start_of_the_likelihood_ratio() -> None:
    """Brute force over all starts; FOCuS, which knows every ratio, can only have more."""
    changepoint = import_module("changepoint_online")
    focus = changepoint.Focus(changepoint.Poisson(10.0), side="right")
    test = PoissonTest(Fixed(10**30))
    test._events, test._elapsed, test._told = 10.0, 1.0, WARM_UP
    random, counts = Random(1), list[int]()
    for _ in range(120):
        counts.append(int(random.gauss(10.3, 4)) % 30)
        test._must_weigh(float(counts[-1]), 10.0)
        focus.update(counts[-1])
        tails = [counts[start:] for start in range(len(counts))]
        best = max(
            sum(count * log(ratio) - (ratio - 1) * 10 for count in tail) for ratio in RATIOS for tail in tails
        )
        assert test.statistic == pytest.approx(max(0.0, best))
        assert test.statistic <= focus.statistic() + 1e-9


@pytest.mark.parametrize("waits", [gaps, clusters])
def test_healthy_streams_fire_no_oftener_than_stated(waits: Callable[[Random], Iterator[int]]) -> None:
    assert alarms(feed(PoissonTest(Fixed(EVENTS)), waits(Random(2)), 100_000)) <= 2 * 100_000 / EVENTS


@pytest.mark.parametrize("seed", [17, 19])
def test_alarms_that_go_away_by_themselves_become_rare(seed: int) -> None:
    """Bursts would be alarms for ever, for what comes in an alarm teaches nothing."""
    assert (
        alarms(feed(PoissonTest(Fixed(EVENTS)), bursty_gaps(Random(seed)), 100_000)) <= 2 * 100_000 / EVENTS
    )


@pytest.mark.parametrize(("factor", "delay"), [(1.6, 1500), (2.7, 100), (7.4, 48)])
def test_a_faster_stream_is_found(factor: float, delay: int) -> None:
    test = PoissonTest(Fixed(EVENTS))
    assert not any(feed(test, gaps(Random(3)), 20_000))
    assert any(feed(test, gaps(Random(4), int(MS / factor)), delay, start_ns=10**15))
    assert test.threshold == pytest.approx(log(2 * EVENTS))


def test_it_keeps_to_the_budget_and_counts_what_it_decides() -> None:
    budget = Budget(3600 * 10**9)
    one, other = PoissonTest(budget), PoissonTest(budget)
    feed(one, gaps(Random(3)), 200 * BATCH)
    assert budget.rate_per_s(0) == pytest.approx(1000 / BATCH, rel=0.1)
    assert one.threshold == pytest.approx(log(len(RATIOS) * budget.events))
    feed(other, gaps(Random(4)), 2000 * BATCH)
    assert other.threshold > one.threshold
    feed(one, gaps(Random(5)), BATCH, start_ns=10**12)
    assert one.threshold == pytest.approx(log(len(RATIOS) * budget.events))


def test_what_an_alarm_decides_is_no_test() -> None:
    budget = Budget(10**9)
    test = PoissonTest(budget)
    feed(test, gaps(Random(3)), 20_000)
    feed(test, gaps(Random(6), MS // 20), 2000, start_ns=10**11)
    assert test.must_update(2 * 10**11, 2 * 10**11 - 1, 1000, 1000)
    before = budget.rate_per_s(2 * 10**11)
    test.must_update(2 * 10**11 + 2, 2 * 10**11 + 1, 1000, 1000)
    assert budget.rate_per_s(2 * 10**11) == before


def test_clusters_are_worth_less() -> None:
    alone, clustered = PoissonTest(Fixed(EVENTS)), PoissonTest(Fixed(EVENTS))
    feed(alone, gaps(Random(5)), 50_000)
    feed(clustered, clusters(Random(5)), 50_000)
    assert alone._dispersion.value < 2
    assert clustered._dispersion.value > 5


def test_dispersion_is_that_of_the_worst_scale() -> None:
    dispersion = Dispersion()
    for number in range(64 * 64):
        dispersion.must_learn(20.0 if number // 8 % 2 else 0.0, 10.0)
    assert dispersion.value == pytest.approx(80**2 / 80, rel=0.2)


def test_an_alarm_ends_with_its_reason_and_teaches_nothing() -> None:
    test = PoissonTest(Fixed(EVENTS))
    feed(test, gaps(Random(6)), 20_000)
    rate = test._events / test._elapsed
    assert feed(test, gaps(Random(6), MS // 20), 2000, start_ns=10**15)[-1]
    assert test._events / test._elapsed == pytest.approx(rate, rel=0.1)
    assert test.statistic == MOST * test.threshold
    assert not feed(test, gaps(Random(6)), 2000, start_ns=10**16)[-1]


def test_a_change_for_good_is_taken_for_normal_once() -> None:
    test = PoissonTest(Fixed(EVENTS))
    feed(test, gaps(Random(7)), 20_000)
    fired = feed(test, gaps(Random(7), MS // 10), 4 * MEMORY * BATCH, start_ns=10**15)
    assert (test.adapted, alarms(fired), fired[-1]) == (1, 1, False)


def test_a_coarse_clock_is_no_evidence() -> None:
    """Thirty events a second, all told at the full second."""
    test = PoissonTest(Fixed(EVENTS))
    for event in range(30_000):
        second = event // 30 * 10**9
        assert not test.must_update(second, second if event % 30 else max(0, second - 10**9), 1, 1)


def test_time_that_goes_backwards_is_no_evidence() -> None:
    test = PoissonTest(Fixed(EVENTS))
    feed(test, gaps(Random(8)), 20_000)
    for _ in range(1000):
        assert not test.must_update(10**9, 10**15, 1000, 1000)


times = st.integers(0, 2**64)


@given(st.lists(st.tuples(times, times, st.integers(0, 2**64), st.integers(-1, 2**32)), max_size=100))
def test_bad_input_is_bounded(told: list[tuple[int, int, int, int]]) -> None:
    test = PoissonTest(Fixed(EVENTS))
    for now, since, value, weight in told:
        test.must_update(now, since, value, weight)
        assert 0 <= test.statistic <= MOST * test.threshold


def test_logarithms_are_those_of_the_ratios() -> None:
    assert [log(ratio) for ratio in RATIOS] == list(LOGARITHMS)
