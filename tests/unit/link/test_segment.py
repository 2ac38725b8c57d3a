"""Bytes of a segment: what was packed is read, and any other bytes are refused in good order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.link.segment import (
    HEADER,
    RECORD,
    SEALED,
    DamagedSegmentError,
    Header,
    checksum,
    file_name,
    is_sealed,
    pack_header,
    padded,
    read_entries,
    read_entry,
    read_header,
    segment_of,
)

U64 = st.integers(0, 2**64 - 1)


def packed(index: int, payload: bytes) -> bytes:
    head = RECORD.pack(len(payload), checksum(index, payload), index)
    return (head + payload).ljust(padded(len(payload)), b"\0")


@given(U64, U64, U64, st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16))
def test_header_round_trip(segment: int, instance: int, first: int, offset: int, boot: bytes) -> None:
    header = Header(segment, instance, first, offset, boot)
    assert read_header(pack_header(header)) == header


@given(st.lists(st.tuples(U64, st.binary(min_size=1, max_size=200)), max_size=20))
def test_records_round_trip(records: list[tuple[int, bytes]]) -> None:
    buffer = b"".join(packed(index, payload) for index, payload in records) + bytes(8)
    assert [(entry.index, entry.payload) for entry in read_entries(buffer, 0)] == records


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_read_without_an_exception(buffer: bytes, offset: int) -> None:
    for entry in read_entries(buffer, offset):
        assert entry.end > offset
    is_sealed(buffer, offset)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_changed_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    buffer = bytearray(packed(5, payload))
    bit = data.draw(st.integers(32, (RECORD.size + len(payload)) * 8 - 1))
    buffer[bit // 8] ^= 1 << bit % 8
    assert read_entry(bytes(buffer), 0) is None


@pytest.mark.parametrize(
    "buffer", [b"", b"RFLXJNL1", bytes(HEADER.size), b"RFLXJNL2" + bytes(HEADER.size - 8)]
)
def test_what_is_no_header_is_refused(buffer: bytes) -> None:
    with pytest.raises(DamagedSegmentError):
        read_header(buffer)


def test_a_stale_record_of_another_index_is_not_taken() -> None:
    payload = b"stale"
    buffer = RECORD.pack(len(payload), checksum(1, payload), 2) + payload + bytes(8)
    assert read_entry(buffer, 0) is None


def test_sealed_is_said_only_by_its_mark() -> None:
    assert is_sealed(SEALED.to_bytes(4, "little"), 0)
    assert not is_sealed(bytes(4), 0)
    assert not is_sealed(b"", 0)


@given(U64)
def test_file_names_sort_as_segments_do(segment: int) -> None:
    assert segment_of(file_name(segment)) == segment
    other = segment ^ 1
    assert (file_name(segment) < file_name(other)) == (segment < other)


@pytest.mark.parametrize("name", ["spare", "x.seg", "00.seg", "zzzzzzzzzzzzzzzz.seg", "0" * 16])
def test_other_files_are_no_segments(name: str) -> None:
    assert segment_of(name) is None
