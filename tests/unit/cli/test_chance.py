"""What a statistic is worth, and how long it takes chance to bring as much."""

import math

import pytest

from controlplane.cli import chance
from controlplane.cli.chance import MOST, chance_words, drawn, span_words


@pytest.mark.parametrize(
    ("kind", "statistic", "threshold", "tests"),
    [
        ("betting", 3e6, 1e6, 3e5),
        ("rare", 1e6, 1e6, 1e5),
        ("poisson", 14.0, 14.0, 1e5),
        ("poisson", 15.0, 14.0, 1e5 * math.e),
        ("histogram", 19.0, 17.0, 4e5),
        ("rate", 812.0, 500.0, 0.0),
        ("level", 1e9, 1e8, 0.0),
        ("betting", math.nan, 1.0, 0.0),
        ("histogram", math.inf, 1.0, 0.0),
        ("betting", 1e300, 1.0, MOST),
        ("poisson", 1e300, 1.0, MOST),
        ("histogram", 1e300, 1.0, MOST),
        ("betting", 1.0, 0.0, 0.0),
    ],
)
def test_until_chance_brings_as_much(kind: str, statistic: float, threshold: float, tests: float) -> None:
    assert chance.tests_until(kind, statistic, threshold, 1e5) == pytest.approx(tests)


@pytest.mark.parametrize("allowed", [0.0, -1.0, math.nan, math.inf])
def test_without_a_budget_nothing_is_claimed(allowed: float) -> None:
    assert chance.tests_until("poisson", 20.0, 10.0, allowed) == 0


def test_winnings_are_drawn_in_bits() -> None:
    assert drawn("betting", 1024.0) == 10
    assert drawn("betting", 0.0) == 0
    assert drawn("poisson", 7.0) == 7


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 seconds"),
        (1, "1 second"),
        (90, "1.5 minutes"),
        (3600, "1 hour"),
        (9 * 86400, "9 days"),
        (400 * 86400, "1.1 years"),
        (1e12, "31,688 years"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert span_words(seconds) == words


def test_chance_in_time_where_the_rate_of_tests_is_known() -> None:
    assert chance_words(9 * 86400 * 1000, 1000, 12) == (
        "at most once in 9 days on this node, if nothing had changed "
        "(7.78e+08 tests, 1,000 a second over 12 streams)"
    )
    assert chance_words(1e6, 0, 0) == "at most once in 1e+06 tests of this policy, if nothing had changed"
