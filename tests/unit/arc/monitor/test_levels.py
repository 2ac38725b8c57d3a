"""Levels over time: pressure that lasts, and floors that rise."""

import math
from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.levels import FAST_NS, HOLD_NS, SLOW_NS, PressureTest, SlopeTest
from controlplane.link.rules import NS
from tests.unit.arc.monitor.series import autoregressive

MIB = 1 << 20


def pressed(test: PressureTest, seconds: int, value: float, start: int) -> list[bool]:
    return [test.must_update((start + second) * NS, 0, value, 1) for second in range(seconds)]


def test_pressure_fires_once_it_has_been_high_for_a_minute() -> None:
    test = PressureTest(50)
    assert not any(pressed(test, 100, 10, 0))
    fired = pressed(test, 120, 90, 100)
    assert 30 < fired.index(True) < 60
    assert fired[-1]


def test_pressure_that_falls_is_left_alone() -> None:
    """The slow mean is still high, the fast one is, too, but it goes down."""
    test = PressureTest(20)
    pressed(test, 300, 90, 0)
    assert not any(pressed(test, 60, 0, 300)[1:])


def test_a_short_peak_is_not_pressure() -> None:
    test = PressureTest(50)
    pressed(test, 100, 10, 0)
    assert not any(pressed(test, 10, 100, 100) + pressed(test, 100, 10, 110))


def test_what_is_told_of_only_while_it_is_high_does_not_add_up() -> None:
    """Ten seconds of pressure a minute; nothing is told in between."""
    test = PressureTest(40)
    for minute in range(60):
        assert not any(pressed(test, 10, 90, 60 * minute))
    assert any(pressed(test, 60, 90, 3600))


def test_the_slow_mean_is_an_exponential_one() -> None:
    test = PressureTest(1000)
    mean = import_module("river.stats").EWMean(fading_factor=1 - math.exp(-NS / SLOW_NS))
    mean.update(0)
    for second, value in enumerate(islice(autoregressive(Random(1), 0.5), 200)):
        test.must_update(second * NS, 0, 50 + value, 1)
        if second:
            assert test._slow == pytest.approx(mean.get())
        mean.update(50 + value)


@given(st.integers(1, 600), st.floats(0, 100))
def test_a_silence_is_as_if_told_of_pressure_that_fades(seconds: int, value: float) -> None:
    silent, told = PressureTest(1000), PressureTest(1000)
    for test in (silent, told):
        pressed(test, 120, value, 0)
    last = 119 * NS
    for step in range(1, 100 * seconds):
        elapsed = step * NS // 100
        fading = math.exp(-max(0, elapsed - HOLD_NS) / FAST_NS)
        told.must_update(last + elapsed, 0, value * fading, 1)
    end = last + seconds * NS
    for test in (silent, told):
        test.must_update(end, 0, 0, 1)
    assert silent._slow == pytest.approx(told._slow, abs=0.02)


def sloped(test: SlopeTest, values: Iterable[float]) -> list[bool]:
    return [test.must_update(0, 0, value, 1) for value in values]


def noise(number: int, seed: int = 2) -> list[float]:
    return [1000 * MIB + 10 * MIB * value for value in islice(autoregressive(Random(seed), 0.5), number)]


def walk(number: int) -> list[float]:
    random, value, values = Random(3), 1e9, []
    for _ in range(number):
        value += random.gauss(0, 1e5)
        values.append(value)
    return values


@pytest.mark.parametrize(
    "values", [noise(100_000), walk(100_000), [5.0] * 10_000], ids=["noise", "walk", "still"]
)
def test_what_only_wavers_is_no_slope(values: list[float]) -> None:
    fired = sloped(SlopeTest(10_000), values)
    assert sum(now and not before for before, now in zip([False, *fired], fired, strict=False)) <= 20


def test_a_leak_is_found_and_a_leap_is_not() -> None:
    test = SlopeTest(10_000)
    sloped(test, noise(2000))
    assert not any(sloped(test, [500 * MIB + value for value in noise(500, seed=4)]))
    assert any(sloped(test, [index * MIB + value for index, value in enumerate(noise(1000, seed=5))]))


@given(st.lists(st.floats() | st.integers(-(2**64), 2**64), max_size=200))
def test_bad_input_is_bounded(values: list[float]) -> None:
    slope, pressure = SlopeTest(100), PressureTest(50)
    for now, value in enumerate(values):
        slope.must_update(0, 0, value, 1)
        pressure.must_update(-now, 0, value, 1)
        assert 0 <= slope.statistic <= 2 * slope.threshold
        assert 0 <= pressure.statistic < math.inf
