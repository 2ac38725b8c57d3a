"""The alarm budget: what is allowed is what may be spent, whatever tests and clocks do."""

from itertools import islice
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.budget import LEAST, MEMORY_NS, MOST, SHARE, Budget
from controlplane.link.rules import NS
from tests.unit.arc.monitor.series import gaps

DAY_NS = 24 * 3600 * NS


def spend(
    budget: Budget, rate_per_s: float, seconds: int, *, start_ns: int = 0, batch: int = 1, seed: int = 1
) -> int:
    """Batches of tests as a Poisson process; the time after."""
    now, end = start_ns, start_ns + seconds * NS
    waits = gaps(Random(seed), round(batch * NS / rate_per_s))
    while (now := now + next(waits)) < end:
        budget.must_count(batch, now)
    return end


@given(st.integers(1, 1000), st.integers(60, 7 * 24 * 3600), st.integers(0, 10**6))
def test_a_steady_rate_times_the_time_allowed(batch: int, allowed_s: int, seed: int) -> None:
    budget = Budget(allowed_s * NS)
    spend(budget, 5 * batch, 2400, batch=batch, seed=seed)
    assert budget.events == pytest.approx(5 * batch * allowed_s, rel=0.1)


@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_it_does_not_begin_too_low(seconds: int) -> None:
    """Weights that have had no time to add up stand for that time alone."""
    budget = Budget(DAY_NS)
    spend(budget, 1000, seconds)
    assert budget.events == pytest.approx(1000 * 86_400, rel=0.05)


def test_it_begins_as_with_one_test_a_second() -> None:
    budget = Budget(DAY_NS)
    assert budget.events == pytest.approx(86_400, rel=1e-3)
    budget.must_count(1, 5)
    assert budget.events == pytest.approx(86_400, rel=1e-3)


@pytest.mark.parametrize("factor", [0.1, 10])
def test_a_rate_that_changed_is_followed(factor: float) -> None:
    budget, before, after = Budget(DAY_NS), 100 * 86_400, 100 * factor * 86_400
    now = spend(budget, 100, 3600)
    now = spend(budget, 100 * factor, 600, start_ns=now)
    half_way = after + (before - after) * exp(-1)
    assert budget.events == pytest.approx(half_way, rel=0.1)
    spend(budget, 100 * factor, 3600, start_ns=now)
    assert budget.events == pytest.approx(after, rel=0.1)


moves = st.integers(0, 3600 * NS) | st.integers(0, NS // 1000) | st.integers(-NS, 0)


@given(
    st.lists(st.tuples(moves, st.integers(1, 1000)), min_size=1, max_size=200),
    st.integers(60 * NS, 7 * DAY_NS),
)
def test_what_is_spent_is_what_is_allowed(told: list[tuple[int, int]], allowed_ns: int) -> None:
    """Storms and silences and clocks that go back: the chances of all tests add up to the time, and a bit."""
    budget, now, spent = Budget(allowed_ns), 0, 0.0
    for move, tests in told:
        now += move
        budget.must_count(tests, now)
        spent += tests / budget.events
    elapsed = sum(move for move, _ in told if move > 0)
    beginning = NS + MEMORY_NS * log(sum(tests for _, tests in told))
    assert spent <= (1 + 2 / SHARE) * (elapsed + beginning) / allowed_ns


@given(st.lists(st.tuples(st.integers(-(2**64), 2**64), st.integers(0, 2**32)), max_size=50))
def test_it_is_bounded(told: list[tuple[int, int]]) -> None:
    budget = Budget(DAY_NS)
    for now, tests in told:
        budget.must_count(tests, now)
        assert LEAST <= budget.events <= MOST
        assert budget.nats == log(budget.events)
        assert budget.rate_per_s(now) >= 0


def test_a_storm_and_a_silence_reach_the_bounds() -> None:
    budget = Budget(60 * NS)
    for second in range(100):
        budget.must_count(2**32, second * NS)
    assert budget.events == pytest.approx(2**32 * 60, rel=0.05)
    for day in range(1, 3):
        budget.must_count(0, day * DAY_NS)
    assert budget.events == LEAST
    budget.must_count(1, 3 * DAY_NS)
    assert budget.events == LEAST
    assert Budget(10**30).events == MOST


def test_another_clock_is_followed() -> None:
    """A recording may begin anew; what has been counted until then fades all the same."""
    budget = Budget(DAY_NS)
    spend(budget, 1000, 600, start_ns=10**18)
    spend(budget, 10, 6000)
    assert budget.events == pytest.approx(10 * 86_400, rel=0.1)


def test_a_clock_that_goes_back_a_little_changes_nothing() -> None:
    steady, wavering = Budget(DAY_NS), Budget(DAY_NS)
    for number, wait in enumerate(islice(gaps(Random(1), 10**7), 20_000)):
        now = number * 10**7
        steady.must_count(1, now)
        wavering.must_count(1, now - wait % 10**6)
    assert wavering.events == pytest.approx(steady.events, rel=0.01)


def test_it_is_worked_out_seldom() -> None:
    budget, found = Budget(DAY_NS), set[float]()
    for number in range(100_000):
        budget.must_count(1, number * 1000)
        found.add(budget.events)
    assert len(found) < SHARE * (1 + log(100_000))
    assert max(found) == budget.events == pytest.approx(100_000 * 86_400, rel=2 / SHARE)


def test_the_rate_falls_while_nothing_is_tested() -> None:
    budget = Budget(DAY_NS)
    now = spend(budget, 100, 3600)
    assert budget.rate_per_s(now) == pytest.approx(100, rel=0.02)
    assert budget.rate_per_s(now + MEMORY_NS) == pytest.approx(100 * exp(-1), rel=0.02)
    assert budget.rate_per_s(now - NS) == pytest.approx(100, rel=0.02)
    assert Budget(DAY_NS).rate_per_s(now) == 0
