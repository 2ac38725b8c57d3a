"""Packed records."""

from controlplane.link.samples import SAMPLE, Sample, pack, samples_in

SAMPLES = [Sample(-5, 1.5, 2.0, 3, 4, 5, 2**64 - 1), Sample(2**62, -1.0, 0.0, 0, 0, 0, 0)]


def test_there_and_back() -> None:
    assert samples_in(pack(SAMPLES)) == SAMPLES
    assert samples_in(b"") == []


def test_a_torn_record_is_left_out() -> None:
    assert samples_in(pack(SAMPLES)[:-1]) == SAMPLES[:1]
    assert samples_in(bytes(SAMPLE.size - 1)) == []
