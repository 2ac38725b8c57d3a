"""What a statistic is worth, and how long it takes chance to bring as much."""

import pytest

from controlplane.cli import chance
from controlplane.cli.chance import MOST, chance_words, drawn, span_words


@pytest.mark.parametrize(
    ("kind", "statistic", "tests"),
    [
        ("betting", 1e6, 1e6),
        ("poisson", 0.0, 1.0),
        ("histogram", 20.0, 2.0**20),
        ("rate", 812.0, 0.0),
        ("level", 1e9, 0.0),
        ("betting", float("nan"), 0.0),
        ("histogram", float("inf"), 0.0),
        ("betting", 1e300, MOST),
    ],
)
def test_tests_until_chance_brings_as_much(kind: str, statistic: float, tests: float) -> None:
    assert chance.tests_until(kind, statistic) == tests


@pytest.mark.parametrize("kind", ["poisson", "histogram"])
def test_however_great_it_is_it_is_a_number(kind: str) -> None:
    assert MOST / 2 < chance.tests_until(kind, 1e300) <= 1.01 * MOST


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
