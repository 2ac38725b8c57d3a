"""The histogram's buckets against their bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.monitor.buckets import BUCKETS, CEILING, FLOOR, LAST, WHOLE, lower_bound, must_bucket


@given(st.floats(FLOOR, CEILING, exclude_max=True))
def test_a_value_lies_within_its_bucket(value: float) -> None:
    bucket = must_bucket(value)
    assert 0 < bucket < LAST
    assert lower_bound(bucket) <= value < lower_bound(bucket + 1)


@given(st.integers(1, 2**64))
def test_whole_numbers_and_floats_agree(value: int) -> None:
    if value < 2**53:
        assert must_bucket(value) == must_bucket(float(value))
    assert WHOLE < must_bucket(value) <= LAST


def test_every_bucket_is_reached() -> None:
    assert [must_bucket(lower_bound(bucket)) for bucket in range(BUCKETS)] == list(range(BUCKETS))


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        *((0, 0), (0.0, 0), (-0.0, 0), (-1, 0), (-(2**63), 0), (-math.inf, 0), (FLOOR / 2, 0), (5e-324, 0)),
        *((1, WHOLE + 1), (2**63, LAST), (2**64, LAST), (2**40, LAST), (math.inf, LAST), (math.nan, -1)),
    ],
)
def test_the_ends(value: float, bucket: int) -> None:
    assert must_bucket(value) == bucket
