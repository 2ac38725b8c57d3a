"""CSV rows as samples: what is taken exactly, and what is passed over."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.cli.recorded import MOST, Bad, Sample, samples


def read(text: str, unit: str = "s") -> list[Sample | Bad]:
    return [*samples(io.StringIO(text, newline=""), unit)]


def test_rows_without_names() -> None:
    assert read("1,5\n2.5,7.25,/web\n") == [
        Sample("1", 10**9, 5, ""),
        Sample("2.5", 2_500_000_000, 7.25, "/web"),
    ]


def test_names_say_which_column_is_which() -> None:
    text = "host,Value,key,TIME\nx,5,/web,3\n"
    assert read(text) == [Sample("3", 3 * 10**9, 5, "/web")]


@pytest.mark.parametrize(
    ("text", "unit", "time_ns"),
    [
        ("1700000000123456789", "ns", 1_700_000_000_123_456_789),
        ("7", "us", 7_000),
        ("0.5", "ms", 500_000),
        ("-2", "s", -2_000_000_000),
        ("2023-11-14T22:13:20Z", "s", 1_700_000_000_000_000_000),
    ],
)
def test_times(text: str, unit: str, time_ns: int) -> None:
    assert read(f"{text},1", unit) == [Sample(text, time_ns, 1, "")]


def test_great_whole_numbers_are_exact() -> None:
    assert read(f"0,{2**63 + 1}") == [Sample("0", 0, 2**63 + 1, "")]


@pytest.mark.parametrize(
    "row", ["1", "x,1", "1,x", "1,nan", "1,inf", "1,1e999", "nan,1", "1e300,1", "1e15,1", "yesterday,1", ","]
)
def test_rows_that_cannot_be_taken(row: str) -> None:
    first, bad, last = read(f"0,1\n{row}\n2,3\n")
    assert isinstance(bad, Bad)
    assert (bad.line, bool(bad.reason)) == (2, True)
    assert [first, last] == [Sample("0", 0, 1, ""), Sample("2", 2 * 10**9, 3, "")]


def test_empty_rows_are_left_out() -> None:
    assert len(read("\n1,2\n\n3,4\n")) == 2


@given(st.text(alphabet=st.sampled_from('0123456789.,-+e"\n\r\0 intfaTZ:é'), max_size=200))
def test_any_text_is_samples_or_bad_rows(text: str) -> None:
    for row in read(text):
        if isinstance(row, Sample):
            assert abs(row.time_ns) < MOST
            assert row.value - row.value == 0
