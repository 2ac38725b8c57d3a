"""Every kind of test under input that should not be: bounded, no exception, and no finding out of nothing."""

import math
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.monitor import streams
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.monitor.tests import make_test
from controlplane.link.rules import NS, Betting, Level, Poisson, Pressure, Rare, Rate, Rule
from controlplane.link.rules import Test as Parameters

DAY = 24 * 3600 * NS
KINDS: list[Parameters] = [
    *(Rate(NS, 10), Level(100), Poisson(DAY), Betting(DAY), Rare(3600 * NS, DAY), Pressure(4000)),
]
NOTHING = [math.nan, -1, -math.inf, -(2**63), 0]
times = st.integers(-(2**63), 2**64)
values = st.one_of(st.integers(-(2**64), 2**64), st.floats(), st.sampled_from(NOTHING))


@given(
    st.sampled_from(KINDS), st.lists(st.tuples(times, times, values, st.integers(-5, 2**32)), max_size=200)
)
def test_any_input_is_survived(kind: Parameters, records: list[tuple[int, int, float, int]]) -> None:
    test = make_test(kind, replayed=True)
    for now_ns, since_ns, value, weight in records:
        assert test.must_update(now_ns, since_ns, value, weight) in (True, False)
        assert not math.isnan(test.statistic) or math.isnan(value)
        assert test.threshold > 0


@pytest.mark.parametrize("kind", [Betting(DAY), Level(100), Pressure(4000)])
def test_no_finding_comes_of_what_is_no_value(kind: Parameters) -> None:
    test = make_test(kind, replayed=True)
    for number, value in enumerate(islice(cycle(NOTHING), 50_000)):
        assert not test.must_update(number * NS // 100, 0, value, 1)


@pytest.mark.parametrize("kind", [Poisson(DAY), Rare(NS, DAY), Betting(DAY)])
def test_no_finding_comes_of_a_clock_that_goes_backwards(kind: Parameters) -> None:
    test = make_test(kind, replayed=True)
    now = 1000 * NS
    for number in range(20_000):
        now += -900 * NS if number % 1000 == 999 else NS
        assert not test.must_update(now, now - NS, 100, 1)


def record(key: int, now_ns: int, weight: int = 1) -> Event:
    return Event(now_ns, 5, now_ns, key, key, 0, 1, 0, 1, 1, weight, 0, 0, 1, EventKind.SIGNAL, 0, b"x")


def test_a_million_keys_are_bounded() -> None:
    monitor = Monitor({"process.fork": 1})
    monitor.set_rules([Rule(name="r", signal="process.fork", test=Poisson(DAY))])
    for key in range(1, 1_000_001):
        place = monitor.name(key, "/x") if key % 20 == 0 else None
        if place is not None:
            monitor.must_feel(place, record(key, key * 1000), lambda *_: None)
    assert len(monitor.places) == streams.MAX_PLACES
    assert monitor.budgets["r"].streams == streams.MAX_PLACES


def test_a_million_events_a_second_of_one_key_are_its_usual_rate() -> None:
    budget = Budget(DAY)
    test = make_test(Poisson(DAY), budget)
    found = [test.must_update(number * 16_000, (number - 1) * 16_000, 16, 16) for number in range(1, 62_500)]
    assert not any(found)
    assert budget.rate_per_s(NS) == pytest.approx(62_500, rel=0.2)
