"""The journal's writing end, on a real file system: order, rotation, bounds, torn tails."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.reflex.journal import Journal, list_segments, read_records
from controlplane.link.records import Intent, Lost, Notice, Record
from controlplane.link.segment import HEADER, LENGTH, SEALED, file_name

SIZE = 64 * 1024


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def open_journal(directory: int, keep: int = 1000, held: tuple[Intent, ...] = ()) -> Journal:
    return Journal(directory, SIZE, keep, os.getgid(), lambda: held)


def lost(number: int) -> Lost:
    return Lost(time_ns=number, sensor="cpu", reason="ring", count=number)


def intent(number: int) -> Intent:
    return Intent(
        time_ns=number,
        trace_id=b"t" * 16,
        span_id=number.to_bytes(8, "little"),
        parent_id=b"p" * 8,
        rule="r",
        step=0,
        act="freeze",
        cgroup=1,
        path="/a",
        mode="enforce",
        event_ns=number,
    )


def read(directory: int) -> list[Record]:
    return [record for _, record in read_records(directory)]


def newest(directory: int, tmp_path: Path) -> Path:
    return tmp_path / file_name(list_segments(directory)[-1])


def test_what_was_appended_is_read_back_in_order(directory: int) -> None:
    journal = open_journal(directory)
    for number in range(10):
        journal.must_append(lost(number))
    assert read(directory) == [lost(number) for number in range(10)]
    assert (journal.index, journal.dirty) == (10, True)


def test_nothing_is_lost_over_rotations(directory: int) -> None:
    journal = open_journal(directory)
    for number in range(5000):
        journal.must_append(lost(number))
        journal.tend()
    assert [record.time_ns for record in read(directory)] == list(range(5000))
    assert len(list_segments(directory)) > 3


def test_segments_continue_each_other_by_index(directory: int) -> None:
    journal = open_journal(directory)
    for number in range(3000):
        journal.must_append(lost(number))
    firsts = {header.segment: header.first_index for header, _ in read_records(directory)}
    counts: dict[int, int] = {}
    for header, _ in read_records(directory):
        counts[header.segment] = counts.get(header.segment, 0) + 1
    expected = 0
    for segment, first in sorted(firsts.items()):
        assert first == expected
        expected += counts[segment]


def test_acts_in_force_are_carried_into_each_new_segment(directory: int) -> None:
    journal = open_journal(directory, held=(intent(1),))
    for number in range(3000):
        journal.must_append(lost(number))
    carried = [record for record in read(directory) if isinstance(record, Intent)]
    assert carried
    assert all(record.carried for record in carried)
    assert len(carried) == len(list_segments(directory)) - 1


def test_only_so_many_segments_are_kept_the_newest(directory: int) -> None:
    journal = open_journal(directory, keep=3)
    for number in range(10_000):
        journal.must_append(lost(number))
        journal.tend()
    assert len(list_segments(directory)) == 3
    assert read(directory)[-1] == lost(9999)


def test_a_moved_segment_is_deleted_but_never_the_one_being_written(directory: int) -> None:
    journal = open_journal(directory)
    for number in range(3000):
        journal.must_append(lost(number))
    first, *_, last = list_segments(directory)
    assert journal.moved(first)
    assert not journal.moved(first)
    assert not journal.moved(last)
    assert not journal.moved(12345)
    assert list_segments(directory)[-1] == last


def test_a_torn_tail_ends_the_segment_and_nothing_else(directory: int, tmp_path: Path) -> None:
    journal = open_journal(directory)
    for number in range(3):
        journal.must_append(lost(number))
    path = newest(directory, tmp_path)
    whole = path.read_bytes()
    end = whole.rindex(b"ring") + 2
    path.write_bytes(whole[:end] + b"\xff" + whole[end + 1 :])
    assert read(directory) == [lost(0), lost(1)]


def test_a_record_is_not_there_before_its_length_is(directory: int, tmp_path: Path) -> None:
    journal = open_journal(directory)
    journal.must_append(lost(1))
    path = newest(directory, tmp_path)
    whole = bytearray(path.read_bytes())
    LENGTH.pack_into(whole, HEADER.size, 0)
    path.write_bytes(whole)
    assert read(directory) == []


def test_a_successor_begins_a_segment_of_its_own(directory: int) -> None:
    first = open_journal(directory)
    first.must_append(lost(1))
    second = open_journal(directory)
    second.must_append(lost(2))
    assert read(directory) == [lost(1), lost(2)]
    assert second.instance > first.instance
    assert len(list_segments(directory)) == 2


def test_a_damaged_header_hides_only_its_segment(directory: int, tmp_path: Path) -> None:
    open_journal(directory).must_append(lost(1))
    newest(directory, tmp_path).write_bytes(b"rubbish")
    open_journal(directory).must_append(lost(2))
    assert read(directory) == [lost(2)]


def test_full_segments_are_sealed(directory: int, tmp_path: Path) -> None:
    journal = open_journal(directory)
    while len(list_segments(directory)) < 2:
        journal.must_append(lost(1))
    first = (tmp_path / file_name(list_segments(directory)[0])).read_bytes()
    assert LENGTH.pack(SEALED) in first


def test_a_record_too_large_is_dropped_and_counted(directory: int) -> None:
    journal = open_journal(directory)
    journal.must_append(Notice(time_ns=1, name="huge", text="x" * 100_000))
    assert journal.dropped == 1
    journal.must_append(lost(1))
    assert read(directory) == [lost(1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small tmpfs")
def test_without_room_records_are_dropped_and_counted_and_it_goes_on_later(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=128k tmpfs {small}") == 0
    try:
        directory = os.open(small, os.O_RDONLY)
        journal = open_journal(directory)
        for number in range(3000):
            journal.must_append(lost(number))
        assert journal.dropped > 0
        assert journal.moved(list_segments(directory)[0])
        journal.must_append(lost(7))
        assert read(directory)[-1] == lost(7)
        journal.close()
        os.close(directory)
    finally:
        assert os.system(f"umount {small}") == 0
        shutil.rmtree(small)
