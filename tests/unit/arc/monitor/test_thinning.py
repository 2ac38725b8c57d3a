"""Thinning: the distance between bets follows the correlation that is measured."""

from itertools import islice
from random import Random

import pytest

from controlplane.arc.monitor.thinning import MAX_HALF, Thinning
from tests.unit.arc.monitor.series import autoregressive


def thinned(correlation: float, looks: int, start: Thinning | None = None) -> Thinning:
    thinning = start or Thinning()
    scores = autoregressive(Random(1), correlation)
    for _ in range(looks):
        thinning.must_measure(next(islice(scores, max(0, thinning.half - 1), None)))
    return thinning


@pytest.mark.parametrize(("correlation", "least", "most"), [(0.0, 1, 2), (0.6, 4, 16), (0.9, 16, 64)])
def test_bets_are_as_far_apart_as_values_are_alike(correlation: float, least: int, most: int) -> None:
    thinning = thinned(correlation, 20_000)
    assert thinning.settled
    assert least <= thinning.every <= most


def test_it_is_undone_when_values_become_independent() -> None:
    thinning = thinned(0.9, 20_000)
    assert thinned(0.0, 20_000, thinning).every <= 2


def test_a_stream_that_is_alike_at_every_distance_is_never_settled() -> None:
    thinning = Thinning()
    for number in range(20_000):
        thinning.must_measure(float(number // 5000 % 2 * 10 + number % 256 // 128))
    assert (thinning.half, thinning.settled) == (MAX_HALF, False)


def test_constant_scores_are_no_reason_to_wait() -> None:
    thinning = Thinning()
    for _ in range(1000):
        thinning.must_measure(-0.7)
    assert (thinning.every, thinning.settled) == (1, True)


def test_an_alarm_makes_it_measure_at_once() -> None:
    resting, doubting = thinned(0.0, 300), thinned(0.0, 300)
    doubting.must_doubt()
    for number in range(256):
        for thinning in (resting, doubting):
            if not thinning.rest:
                thinning.must_measure(float(number // 128))
    assert (resting.settled, doubting.settled) == (True, False)
