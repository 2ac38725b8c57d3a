"""Quantities: exact where they are written right, refused with a hint where they are not."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.link.signals import SIGNALS
from controlplane.policy import units
from controlplane.policy.errors import UnitError


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("7ns", 7),
        ("50us", 50_000),
        ("250ms", 250_000_000),
        ("30s", 30_000_000_000),
        ("30 s", 30_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.1us", 100),
        ("1m", 60_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("0.3s", 300_000_000),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert units.duration_ns(text) == ns


@pytest.mark.parametrize(
    "bad",
    [
        *("", "30", "s", "-1s", "+1s", "1 0s", "1e3s", "1,5s", ".5s", "1.s", "0x1s", "1s ", " 1s", "1s\n"),
        *(
            "1S",
            "1min",
            "1sec",
            "1/s",
            "1m30s",
            "nan",
            "infs",
            "0.5ns",
            "٣s",
            "9" * 19 + "s",
            "1.0000000001s",
        ),
        *(31, 1.5, True, None, [], {}, math.inf),
    ],
)
def test_not_durations(bad: object) -> None:
    with pytest.raises(UnitError) as caught:
        units.duration_ns(bad)
    assert "250ms" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("500/s", Fraction(500)),
        ("0.5/s", Fraction(1, 2)),
        ("10/min", Fraction(1, 6)),
        ("1/h", Fraction(1, 3600)),
        ("1/hour", Fraction(1, 3600)),
        ("3/d", Fraction(3, 86_400)),
        ("1/day", Fraction(1, 86_400)),
        ("1/week", Fraction(1, 604_800)),
    ],
)
def test_rates(text: str, per_s: Fraction) -> None:
    assert units.rate_per_s(text) == per_s


@pytest.mark.parametrize(
    "bad", ["", "500", "500s", "0/s", "0.0/s", "-1/s", "1/", "/s", "1//s", "1/m", "1/ms", 501]
)
def test_not_rates(bad: object) -> None:
    with pytest.raises(UnitError) as caught:
        units.rate_per_s(bad)
    assert "500/s" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("64MiB/s", Fraction(64 << 20)),
        ("1GiB/min", Fraction(1 << 30, 60)),
        ("0.25%/s", Fraction(25)),
        ("100%/hour", Fraction(10_000, 3600)),
    ],
)
def test_memory_a_second(text: str, per_s: Fraction) -> None:
    assert units.memory_per_s(text, 10_000) == per_s


@pytest.mark.parametrize(
    "bad", ["", "500/s", "1%", "64MiB", "0%/s", "0B/s", "101%/s", "0.001%/s", "1%/ms", "1%/s/s", "/s"]
)
def test_not_memory_a_second(bad: str) -> None:
    with pytest.raises(UnitError) as caught:
        units.memory_per_s(bad, 10_000)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65_536), ("10MB", 10_000_000), ("1.5GiB", 1_610_612_736), ("1kB", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    assert units.size_bytes(text) == size


@pytest.mark.parametrize("bad", ["", "1", "1b", "1kb", "1KB", "1K", "0.5B", "-1B", "1TiBB", 4096])
def test_not_sizes(bad: object) -> None:
    with pytest.raises(UnitError) as caught:
        units.size_bytes(bad)
    assert "64KiB" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "hundredths"),
    [("0%", 0), ("15%", 1500), ("15 %", 1500), ("0.01%", 1), ("99.99%", 9999), ("100%", 10_000)],
)
def test_shares(text: str, hundredths: int) -> None:
    assert units.share(text) == hundredths


@pytest.mark.parametrize("bad", ["", "15", "%", "-1%", "100.01%", "0.001%", "15%%", "15/%", "15ms", 0.15])
def test_not_shares(bad: object) -> None:
    with pytest.raises(UnitError) as caught:
        units.share(bad)
    assert "15%" in caught.value.hint


def test_values_are_read_in_the_unit_of_the_signal() -> None:
    assert units.value("2ms", "ns") == 2_000_000
    assert units.value("2MiB", "By") == 2_097_152
    assert units.value("2%", "%") == 200
    with pytest.raises(UnitError):
        units.value("2MiB", "ns")


@pytest.mark.parametrize(
    "signal", [signal for signal in SIGNALS if signal.kind == "value"], ids=lambda s: s.name
)
def test_every_measured_signal_has_a_way_to_be_written(signal: object) -> None:
    assert units.value({"ns": "1ms", "By": "1MiB", "%": "1%"}[signal.unit], signal.unit) > 0  # type: ignore[attr-defined]


@given(st.integers(0, 10**17), st.sampled_from(sorted(units.NS_OF)))
def test_whole_numbers_are_exact(amount: int, unit: str) -> None:
    assert units.duration_ns(f"{amount}{unit}") == amount * units.NS_OF[unit]


def test_a_long_value_makes_a_short_message() -> None:
    with pytest.raises(UnitError) as caught:
        units.duration_ns("9" * 100_000)
    assert len(str(caught.value)) < 200
