"""The tests against their definitions, event by event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.tests import LevelTest, RateTest, make_test
from controlplane.link.rules import NS, Betting, Level, Poisson, Pressure, Rare, Rate
from controlplane.link.rules import Test as Parameters

MS = NS // 1000


def exact_debt(times: list[int], interval: int) -> float:
    """GCRA, one event at a time: the debt after the last, in events."""
    arrival = 0
    for time in times:
        arrival = max(arrival, time) + interval
    return max(0, arrival - times[-1]) / interval


def test_steady_rate_below_the_limit_never_fires() -> None:
    test = RateTest(Rate(interval_ns=2 * MS, burst=1))
    assert not any(test.must_update(now, now, 1, 1) for now in range(NS, 2 * NS, 2 * MS))


def test_burst_beyond_the_limit_fires_at_once() -> None:
    test = RateTest(Rate(interval_ns=2 * MS, burst=10))
    fired = [test.must_update(NS, NS, 1, 1) for _ in range(11)]
    assert fired == [False] * 10 + [True]


def test_debt_is_paid_back_with_time() -> None:
    test = RateTest(Rate(interval_ns=MS, burst=10))
    test.must_update(NS, NS, 9, 9)
    assert test.statistic == 9
    test.must_update(NS + 100 * MS, NS + 100 * MS, 1, 1)
    assert test.statistic == 1


@given(st.lists(st.integers(0, 5 * MS), min_size=1, max_size=60), st.integers(1, 8))
def test_a_batch_never_shows_more_than_its_events_one_by_one(gaps: list[int], batch: int) -> None:
    times = [NS + sum(gaps[: i + 1]) for i in range(len(gaps))]
    test = RateTest(Rate(interval_ns=MS, burst=1))
    told = 0
    for end in range(batch, len(times) + 1, batch):
        part = times[end - batch : end]
        test.must_update(part[-1], part[0], batch, batch)
        told = end
        assert test.statistic <= exact_debt(times[:end], MS) + 1e-9
    assert told == len(times) // batch * batch


@pytest.mark.parametrize(("value", "fires"), [(0, False), (100, False), (101, True), (2**63, True)])
def test_level(value: int, *, fires: bool) -> None:
    test = LevelTest(Level(above=100))
    assert test.must_update(NS, NS, value, 1) is fires
    assert (test.statistic, test.threshold) == (value, 100)


def test_every_kind_of_parameters_has_a_test() -> None:
    assert make_test(Rate(1, 1)).kind == "rate"
    assert make_test(Level(1)).kind == "level"
    assert make_test(Poisson(NS)).kind == "poisson"
    for replayed in (False, True):
        assert make_test(Betting(NS), replayed=replayed).kind == "histogram"
    assert make_test(Rare(NS, NS)).kind == "rare"
    assert make_test(Pressure(4000)).kind == "pressure"


@pytest.mark.parametrize("parameters", [Poisson(3600 * NS), Rare(NS // 1000, 3600 * NS)])
def test_those_of_one_rule_share_a_budget(parameters: Parameters) -> None:
    """One of them decides a hundred times as often as the other, which hears of it."""
    budget = Budget(3600 * NS)
    busy, calm = make_test(parameters, budget), make_test(parameters, budget)
    for now in range(NS // 100, 100 * NS, NS // 100):
        busy.must_update(now, now - NS // 100, 1, 1)
    before = calm.threshold
    for now in range(0, 100 * NS, NS):
        calm.must_update(100 * NS + now, 99 * NS + now, 1, 1)
    assert calm.threshold > before


def test_one_that_shares_none_has_a_budget_of_its_own() -> None:
    assert make_test(Rare(NS, 3600 * NS)).threshold == pytest.approx(3600, rel=0.01)
