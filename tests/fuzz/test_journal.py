"""Any bytes of a journal are records or nothing: for the plane, and for the arc that follows a dead one."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.reflex.journal import read_records
from controlplane.link.malformed import MALFORMED
from controlplane.link.records import DECODER, ENCODER
from controlplane.link.segment import RECORD, Header, checksum, file_name, pack_header, padded
from controlplane.plane.journal import Journal
from controlplane.plane.story import Story
from controlplane.plane.telemetry.logs import Logs
from tests.plane.writer import finding, notice

LOGS = Logs({})
HEADER = pack_header(Header(1, 7, 0, 5, bytes(16)))
WRITTEN = (ENCODER.encode(finding()), ENCODER.encode(notice(1)))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A record with some of its bytes changed."""
    payload = bytearray(draw(st.sampled_from(WRITTEN)))
    for _ in range(draw(st.integers(1, 4))):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload)


payloads = st.sampled_from(WRITTEN) | changed() | st.binary(min_size=1, max_size=80)


def segment(index: int, payload: bytes) -> bytes:
    head = RECORD.pack(len(payload), checksum(index, payload), index)
    return (head + payload).ljust(padded(len(payload)), b"\0")


def check(contents: bytes) -> int:
    """Reads them as the plane does, and as an arc; how many records the plane found."""
    with TemporaryDirectory() as name:
        head, kept = Path(name, "head"), Path(name, "kept")
        head.mkdir()
        (head / file_name(1)).write_bytes(contents)
        journal, story = Journal(head, kept, 1 << 20), Story()
        journal.open()
        stored = journal.pull().stored
        journal.close()
        for item in stored:
            LOGS.make(item, 1)
            try:
                record = DECODER.decode(item.entry.payload)
            except MALFORMED:
                continue
            story.feed(item.uid, record.time_ns + item.header.wall_offset_ns, record)
        directory = os.open(head, os.O_RDONLY | os.O_DIRECTORY)
        try:
            assert len(list(read_records(directory))) <= len(stored)
        finally:
            os.close(directory)
    return len(stored)


@given(st.lists(payloads, max_size=5))
def test_records_of_any_content(given_payloads: list[bytes]) -> None:
    records = b"".join(segment(index, payload) for index, payload in enumerate(given_payloads))
    assert check(HEADER + records + bytes(16)) == len(given_payloads)


@given(st.binary(max_size=300))
def test_any_bytes(contents: bytes) -> None:
    assert check(contents) == 0


@given(st.lists(payloads, min_size=1, max_size=3), st.data())
def test_a_segment_with_bytes_changed(given_payloads: list[bytes], data: st.DataObject) -> None:
    contents = bytearray(HEADER + b"".join(segment(*each) for each in enumerate(given_payloads)) + bytes(16))
    for _ in range(data.draw(st.integers(1, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    assert check(bytes(contents)) <= len(given_payloads)
