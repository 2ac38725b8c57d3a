"""The kernel's whole-number form against the reference, on the same table."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.betting import Baseline
from controlplane.arc.monitor.buckets import BUCKETS
from controlplane.arc.monitor.integer import MOST, UNIT, IntegerBets, bits_table, bits_threshold
from tests.unit.arc.monitor.unhurried import unhurried

USED = 12
"""Buckets a made-up stream uses."""

counts = st.lists(st.integers(0, 2000), min_size=USED, max_size=USED)
bets = st.lists(st.integers(0, USED), max_size=300)


def baseline_of(numbers: list[int]) -> Baseline:
    made = Baseline()
    made.must_learn(array("I", [*numbers, *[0] * (BUCKETS - USED)]), sum(numbers))
    made.must_set_odds()
    return made


@unhurried
@given(counts, bets, st.integers(2, 10**9))
def test_it_is_never_more_alarming(numbers: list[int], buckets: list[int], events: int) -> None:
    payoffs = baseline_of(numbers).payoffs
    integer = IntegerBets(bits_table(payoffs), events)
    winnings = 0.0
    for bucket in buckets:
        fires = integer.must_bet(bucket)
        winnings = (1 + winnings) * payoffs[bucket]
        assert 2 ** (integer.statistic / UNIT) <= (1 + winnings) * (1 + 1e-9)
        assert not fires or winnings >= events * (1 - 1e-9)


@unhurried
@given(counts, bets)
def test_what_it_gives_away_is_bounded(numbers: list[int], buckets: list[int]) -> None:
    """A 64th of a bit per bet, and that it keeps the best of all starts in place of their sum."""
    payoffs = baseline_of(numbers).payoffs
    integer = IntegerBets(bits_table(payoffs), 2)
    winnings = 0.0
    for number, bucket in enumerate(buckets, 1):
        integer.must_bet(bucket)
        winnings = (1 + winnings) * payoffs[bucket]
        assert winnings <= number * 2 ** ((integer.statistic + number) / UNIT) * (1 + 1e-9)


def test_the_statistic_stays_a_32_bit_number() -> None:
    integer = IntegerBets(array("h", [2**15 - 1] * BUCKETS), 10**9)
    integer.statistic = MOST - 1
    assert integer.must_bet(0)
    assert integer.statistic == MOST


def test_the_table_holds_16_bit_numbers() -> None:
    assert list(bits_table(array("d", [1.0, 2.0, 0.5, 1e-300, 1e300]))) == [0, 64, -64, -(2**15), 2**15 - 1]
    assert bits_threshold(1024) == 640
    assert bits_threshold(1025) == 641
