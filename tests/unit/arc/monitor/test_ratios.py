"""Ratios, rare things and exceedances: winnings against brute force, alarms against their stated rate."""

import math
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.budget import Budget, Fixed
from controlplane.arc.monitor.ratios import RARE_RATIOS, RATIOS, ExceedanceTest, RareTest, RatioTest
from controlplane.arc.monitor.winnings import MOST, Winnings
from tests.unit.arc.monitor.series import gaps, latencies

EVENTS = 1000
SECOND = 10**9
MAKERS: dict[str, Callable[[], monitored.Test]] = {
    "ratio": lambda: RatioTest(0.01, EVENTS),
    "rare": lambda: RareTest(SECOND, Fixed(EVENTS)),
    "exceedance": lambda: ExceedanceTest(0.01, EVENTS),
}


def alarms(fired: list[bool]) -> int:
    return sum(now and not before for before, now in zip([False, *fired], fired, strict=False))


def sum_over_starts(payoffs: list[float]) -> float:
    """What one unit bet at every start, and left in, has become."""
    return sum(math.prod(payoffs[start:]) for start in range(len(payoffs)))


def test_winnings_are_the_sum_over_all_starts() -> None:
    random, winnings = Random(1), Winnings(2)
    payoffs: tuple[list[float], list[float]] = ([], [])
    for _ in range(200):
        for index, each in enumerate(payoffs):
            each.append(random.uniform(0.2, 1.9))
            winnings.must_bet(index, math.log(each[-1]))
        winnings.must_settle(1e12)
        assert winnings.mean == pytest.approx(sum(map(sum_over_starts, payoffs)) / 2)


def test_winnings_are_bounded_and_begin_anew_after_an_alarm() -> None:
    winnings = Winnings(1)
    winnings.must_bet(0, 1e9)
    winnings.must_settle(EVENTS)
    assert (winnings.open, winnings.mean) == (True, MOST * EVENTS)
    winnings.must_bet(0, math.log(0.5 * math.sqrt(EVENTS) / winnings.mean))
    winnings.must_settle(EVENTS)
    assert (winnings.open, winnings.mean) == (False, 0)


def test_the_threshold_may_move() -> None:
    winnings = Winnings(1)
    for threshold, is_open in ((1000, False), (50, True), (10_000, True), (10_000_000, False)):
        winnings.must_bet(0, math.log(100 / (1 + winnings.mean)))
        winnings.must_settle(threshold)
        assert winnings.open is is_open


def mean_of(payoffs: Iterable[float]) -> object:
    """Of first bets, each cut off where the test, with 10^9 events between alarms, cuts it off."""
    each = [*payoffs]
    return pytest.approx(sum(min(payoff, MOST * 1e9 * len(each)) for payoff in each) / len(each))


@given(st.integers(0, 30))
def test_a_ratio_pays_its_likelihood_ratio(failed: int) -> None:
    test = RatioTest(0.1, 10**9)
    test.must_update(0, 0, failed, 30)
    worse = [min(0.1 * ratio, 0.55) for ratio in RATIOS]
    fair = 0.1**failed * 0.9 ** (30 - failed)
    assert test.statistic == mean_of(other**failed * (1 - other) ** (30 - failed) / fair for other in worse)


@given(st.integers(1, 8), st.floats(0.1, 3))
def test_rare_events_pay_their_likelihood_ratio(number: int, seconds: float) -> None:
    test = RareTest(SECOND, Fixed(10**9))
    elapsed = int(seconds * SECOND)
    test.must_update(elapsed, 0, number, number)
    assert test.statistic == mean_of(
        math.exp(number * math.log(ratio) - (ratio - 1) * elapsed / SECOND) for ratio in RARE_RATIOS
    )


def test_healthy_ratios_fire_no_oftener_than_stated() -> None:
    random, test = Random(2), RatioTest(0.01, EVENTS)
    fired = [test.must_update(0, 0, random.random() < 0.01, 1) for _ in range(50_000)]
    assert alarms(fired) <= 2 * 50_000 / EVENTS


def test_healthy_rare_events_fire_no_oftener_than_stated() -> None:
    test, now, fired = RareTest(SECOND, Fixed(EVENTS)), 0, []
    for wait in islice(gaps(Random(3), SECOND), 50_000):
        fired.append(test.must_update(now + wait, now, 1, 1))
        now += wait
    assert alarms(fired) <= 2 * 50_000 / EVENTS


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_healthy_values_exceed_no_oftener_than_stated(correlation: float) -> None:
    test = ExceedanceTest(0.01, EVENTS)
    values = islice(latencies(Random(4), correlation), 100_000)
    assert alarms([test.must_update(0, 0, value, 1) for value in values]) <= 2 * 100_000 / EVENTS


def test_the_quantile_is_the_one_that_is_meant() -> None:
    """River's estimate of it, and the distribution's own."""
    river, test = import_module("river.stats").Quantile(0.993), ExceedanceTest(0.01, 10**30)
    for value in islice(latencies(Random(5)), 50_000):
        test.must_update(0, 0, value, 1)
        river.update(value)
    assert test._level == pytest.approx(math.log2(river.get()), abs=0.4)
    assert test._level == pytest.approx(math.log2(100_000) + 2.457 / math.log(2), abs=0.4)


@pytest.mark.parametrize(("share", "delay"), [(0.05, 500), (0.2, 60), (1.0, 5)])
def test_more_failures_are_found(share: float, delay: int) -> None:
    random, test = Random(6), RatioTest(0.01, EVENTS)
    assert any(test.must_update(0, 0, random.random() < share, 1) for _ in range(delay))


def test_more_of_a_rare_thing_is_found() -> None:
    test = RareTest(3600 * SECOND, Fixed(EVENTS))
    assert [test.must_update(second * SECOND, max(0, second - 1) * SECOND, 1, 1) for second in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_the_first_of_a_rare_thing_is_no_evidence() -> None:
    """The kernel counts a stream from its first event on, so there was no time before."""
    test = RareTest(3600 * SECOND, Fixed(2))
    assert not test.must_update(SECOND, SECOND, 1, 1)
    assert test.must_update(2 * SECOND, SECOND, 1, 1)


def test_rare_things_keep_to_the_budget() -> None:
    """Hundred streams at the rate that is allowed, one alarm an hour allowed over all of them."""
    budget, random = Budget(3600 * SECOND), Random(8)
    tests = [RareTest(60 * SECOND, budget) for _ in range(100)]
    told, found, now = [0] * 100, 0, 0
    while now < 40 * 3600 * SECOND:
        now += int(random.expovariate(100 / 60) * SECOND)
        stream = random.randrange(100)
        before = tests[stream]._winnings.open
        found += tests[stream].must_update(now, told[stream], 1, 1) and not before
        told[stream] = now
    assert budget.events == pytest.approx(6000, rel=0.1)
    assert tests[0].threshold > 5000
    assert 0 < found <= 40


def test_higher_values_are_found() -> None:
    test, values = ExceedanceTest(0.01, EVENTS), latencies(Random(7))
    for value in islice(values, 5000):
        test.must_update(0, 0, value, 1)
    assert any(test.must_update(0, 0, 8 * value, 1) for value in islice(values, 50))


@pytest.mark.parametrize("name", MAKERS)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**64),
            st.integers(0, 2**64),
            st.integers(-1, 2**64) | st.floats(),
            st.integers(-1, 2**32),
        ),
        max_size=50,
    )
)
def test_bad_input_is_bounded(name: str, told: list[tuple[int, int, float, int]]) -> None:
    test = MAKERS[name]()
    for each in told:
        test.must_update(*each)
        assert 0 <= test.statistic <= MOST * EVENTS * 3


def test_what_is_no_sample_is_no_evidence() -> None:
    for test in (RatioTest(0.01, 2), RareTest(SECOND, Fixed(2)), ExceedanceTest(0.01, 2)):
        for value, weight in ((math.nan, 1), (-1, 0), (math.nan, -5)):
            assert not test.must_update(0, SECOND, value, weight)
        assert test.statistic == 0
