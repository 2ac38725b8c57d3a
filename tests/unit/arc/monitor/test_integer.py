"""The kernel's whole-number form against the reference, on the same table."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.betting import Baseline
from controlplane.arc.monitor.buckets import BUCKETS
from controlplane.arc.monitor.integer import NEWS, NO_NEWS, UNIT, IntegerBets, bits_table

MOST = 10**6
USED = 12
"""Buckets a made-up stream uses."""

counts = st.lists(st.integers(0, 2000), min_size=USED, max_size=USED)
bets = st.lists(st.integers(0, USED), max_size=300)


def baseline_of(numbers: list[int]) -> Baseline:
    made = Baseline()
    made.must_learn(array("I", [*numbers, *[0] * (BUCKETS - USED)]), sum(numbers))
    made.must_set_odds()
    return made


def betting(payoffs: "array[float]", bits: int) -> IntegerBets:
    made = IntegerBets()
    made.must_set(bits * UNIT, 0, MOST, 0, 10**9, bits_table(payoffs))
    return made


@given(counts, bets, st.integers(1, 30))
def test_it_is_never_more_alarming(numbers: list[int], buckets: list[int], bits: int) -> None:
    payoffs = baseline_of(numbers).payoffs
    integer = betting(payoffs, bits)
    winnings = 0.0
    for bucket in buckets:
        told = integer.must_take(bucket)
        winnings = (1 + winnings) * payoffs[bucket]
        assert 2 ** (integer.statistic / UNIT) <= (1 + winnings) * (1 + 1e-9)
        assert told == NO_NEWS or integer.statistic < bits * UNIT or 1 + winnings >= 2**bits * (1 - 1e-9)


@given(counts, bets)
def test_what_it_gives_away_is_bounded(numbers: list[int], buckets: list[int]) -> None:
    """A 64th of a bit per bet, and that it keeps the best of all starts in place of their sum."""
    payoffs = baseline_of(numbers).payoffs
    integer = betting(payoffs, 1)
    winnings = 0.0
    for number, bucket in enumerate(buckets, 1):
        integer.must_take(bucket)
        winnings = (1 + winnings) * payoffs[bucket]
        assert winnings <= number * 2 ** ((integer.statistic + number) / UNIT) * (1 + 1e-9)


def test_the_statistic_stays_below_its_bound() -> None:
    integer = IntegerBets()
    integer.must_set(UNIT, 0, 5000, 0, 10**9, array("h", [2**15 - 1] * BUCKETS))
    assert integer.must_take(0) == NEWS
    assert integer.statistic == 5000


def test_an_alarm_is_told_when_it_begins_grows_lasts_and_ends() -> None:
    integer = IntegerBets()
    integer.must_set(10 * UNIT, 5 * UNIT, 13 * UNIT, 0, 10**9, array("h", [UNIT, -UNIT, *[0] * 240]))
    told = [integer.must_take(bucket) for bucket in [0] * 9 + [0] * 5 + [2] * 30 + [1] * 9]
    assert [at for at, each in enumerate(told) if each == NEWS] == [
        *(9, 10, 11, 12),  # a bit more each time, up to the bound
        *(13, 17, 25, 41),  # it has lasted for 4, 8, 16, 32 bets
        52,
    ]
    assert integer.told == integer.statistic == 0


def test_nothing_is_told_while_it_is_not_armed() -> None:
    integer = IntegerBets()
    integer.must_set(UNIT, 0, 0, 0, 10**9, array("h", [1000] * BUCKETS))
    assert {integer.must_take(0) for _ in range(100)} == {NO_NEWS}


def test_half_way_between_two_bets_is_a_look() -> None:
    integer = IntegerBets()
    integer.must_set(MOST, 0, MOST, 3, 10**9, array("h", [1] * BUCKETS))
    looks = []
    for _ in range(13):
        integer.must_take(0)
        looks.append((integer.counted().looks, integer.statistic))
    assert looks == [*[(1, 1)] * 3, *[(2, 1)] * 3, *[(3, 2)] * 3, *[(4, 2)] * 3, (5, 3)]


def test_the_table_holds_16_bit_numbers() -> None:
    assert list(bits_table(array("d", [1.0, 2.0, 0.5, 1e-300, 1e300]))) == [0, 64, -64, -(2**15), 2**15 - 1]
