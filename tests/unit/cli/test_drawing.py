"""Pictures: heights, marks, and buckets drawn together."""

import math

from hypothesis import given
from hypothesis import strategies as st

from controlplane.cli.drawing import MAX_BARS, ROWS, Bar, histogram, merged, plot


def label(number: float) -> str:
    return f"{number:g}"


def test_columns_rise_with_the_values() -> None:
    assert list(plot([0, 1, 2, 4, 8], 4, label)) == [
        "           8 |    #",
        "             |    #",
        "             |    #",
        "             |    #",
        "           4 |---##",
        "             |   ##",
        "             |  ###",
        "             | ####",
        "           0 +-----",
    ]


def test_a_threshold_above_all_values_is_seen() -> None:
    first, *rest = plot([1, 1], 100, label)
    assert first == "         100 |--"
    assert rest[-2] == "             |##"


def test_what_is_no_number_has_no_height() -> None:
    assert next(plot([math.nan, math.inf, -1.0, 2.0], 1, label)).endswith("|   #")


@given(st.lists(st.floats(), min_size=1, max_size=64), st.floats())
def test_any_values_make_a_plot_of_one_size(values: list[float], threshold: float) -> None:
    lines = list(plot(values, threshold, lambda _: ""))
    assert len(lines) == ROWS + 1
    assert max(map(len, lines)) <= 14 + len(values)


def test_bars_and_what_lies_in_them() -> None:
    bars = [Bar(1, 100), Bar(2, 50), Bar(4, 0), Bar(8, 1)]
    assert list(histogram(bars, [(0.5, "a"), (3, "b"), (1000, "c"), (8, "d")], label)) == [
        "           1 |############################       100  <- a",
        "           2 |##############                      50  <- b",
        "           4 |                                     0",
        "           8 |#                                    1  <- c, d",
    ]


def test_many_buckets_are_drawn_together_and_none_is_lost() -> None:
    together = merged([Bar(number, 1) for number in range(100)])
    assert len(together) <= MAX_BARS
    assert sum(bar.number for bar in together) == 100
    assert [bar.least for bar in together[:2]] == [0, 5]
    assert merged([]) == []
