"""Copying, cutting back, reading and making room, on real files and with the arc's own writer."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.link.records import DECODER, Notice
from controlplane.link.segment import HEADER, file_name
from controlplane.plane.cursor import Cursor
from controlplane.plane.journal import Gap, Journal, Stored
from tests.plane.writer import append, notice, writing

HUGE = 1 << 30


class Place:
    """A head, a folder on the disk, and one journal at a time between them."""

    def __init__(self, root: Path) -> None:
        self.head = root / "head"
        self.kept = root / "kept"
        self.journal: Journal | None = None

    def open(self, cap: int = HUGE) -> Journal:
        """A new journal, as after a restart."""
        self.close()
        self.journal = Journal(self.head, self.kept, cap)
        self.journal.open()
        return self.journal

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    def segments(self) -> list[Path]:
        return sorted(self.kept.glob("*.seg"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def pull_all(journal: Journal) -> list[int]:
    numbers = []
    while stored := journal.pull().stored:
        numbers += [number_of(item) for item in stored]
    return numbers


def number_of(item: Stored | Gap) -> int:
    assert isinstance(item, Stored)
    record = DECODER.decode(item.entry.payload)
    assert isinstance(record, Notice)
    return record.time_ns


def read_numbers(journal: Journal) -> list[int]:
    return [number_of(item) for item in journal.read(Cursor(), 1_000_000, HUGE)[0]]


def test_records_arrive_once_and_in_order(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        seen = []
        for start in range(0, 500, 50):
            append(writer, *(notice(number) for number in range(start, start + 50)))
            seen += pull_all(journal)
        assert pull_all(journal) == []
    assert seen == list(range(500))
    assert read_numbers(journal) == seen


def test_the_copy_is_byte_for_byte_the_beginning_of_the_head(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(200)))
        pull_all(journal)
        names = [path.name for path in place.segments()]
        assert len(names) > 3
        for name in names:
            kept = (place.kept / name).read_bytes()
            assert (place.head / name).read_bytes().startswith(kept)


def test_only_whole_segments_are_given_back(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, notice(0))
        assert journal.pull().moved == []
        append(writer, *(notice(number) for number in range(1, 100)))
        pull_all(journal)
        moved = journal.pull().moved
        assert moved
        assert all(writer.moved(segment) for segment in moved)
        assert journal.pull().moved == []
        assert len(list(place.head.glob("*.seg"))) == 1


def test_a_restart_goes_on_where_the_disk_ends(place: Place) -> None:
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(30)))
        assert pull_all(place.open()) == list(range(30))
        append(writer, *(notice(number) for number in range(30, 300)))
        again = place.open()
        assert [number_of(item) for item in again.last(1)] == list(range(30))
        assert pull_all(again) == list(range(30, 300))
    assert read_numbers(again) == list(range(300))


@pytest.mark.parametrize("cut", [1, 4, 17, 40, 63])
def test_a_torn_tail_is_cut_back_and_copied_again(place: Place, cut: int) -> None:
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(20)))
        pull_all(place.open())
        (path,) = place.segments()
        os.truncate(path, path.stat().st_size - cut)
        pull_all(again := place.open())
        assert read_numbers(again) == list(range(20))


def test_garbage_behind_the_last_record_is_cut_off(place: Place) -> None:
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(20)))
        pull_all(place.open())
        (path,) = place.segments()
        with path.open("ab") as file:
            file.write(b"\xff" * 100)
        again = place.open()
        append(writer, *(notice(number) for number in range(20, 40)))
        pull_all(again)
        assert read_numbers(again) == list(range(40))


def test_a_file_that_is_no_segment_is_put_out_of_the_way(place: Place) -> None:
    place.kept.mkdir()
    (place.kept / file_name(7)).write_bytes(b"no segment" * 20)
    journal = place.open()
    assert (place.kept / "0000000000000007.damaged").exists()
    with writing(place.head) as writer:
        append(writer, notice(1))
        assert pull_all(journal) == [1]


def test_what_a_dead_arc_left_open_is_closed_and_given_back(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as dead:
        append(dead, notice(1))
        pull_all(journal)
        left = next(place.head.glob("*.seg")).name
    with writing(place.head) as writer:
        append(writer, notice(2))
        assert pull_all(journal) == [2]
        moved = journal.pull().moved
        assert [file_name(segment) for segment in moved] == [left]
        assert all(writer.moved(segment) for segment in moved)
    assert read_numbers(place.open()) == [1, 2]


def test_dropped_head_segments_show_as_a_gap_of_the_exact_size(place: Place) -> None:
    journal = place.open()
    with writing(place.head, keep=2) as writer:
        append(writer, notice(0))
        pull_all(journal)
        append(writer, *(notice(number) for number in range(1, 500)))
        seen = pull_all(journal)
    items, _ = journal.read(Cursor(), 10_000, HUGE)
    (gap,) = (item for item in items if isinstance(item, Gap))
    assert gap.count == 500 - 1 - len(seen) > 100
    assert gap.before.entry.index == 1 + gap.count


def test_reading_is_bounded_and_goes_on(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(300)))
        pull_all(journal)
    cursor, seen = Cursor(), []
    while True:
        items, cursor = journal.read(cursor, 7, HUGE)
        assert len(items) <= 7
        if not items:
            break
        seen += [number_of(item) for item in items]
    assert seen == list(range(300))
    assert journal.backlog(cursor) == 0
    few, _ = journal.read(Cursor(), 1000, 200)
    assert 0 < len(few) < 10


def test_records_longer_than_any_buffer_pass(place: Place) -> None:
    journal = place.open()
    with writing(place.head, size=1 << 20) as writer:
        append(writer, *(notice(number, "x" * 60_000) for number in range(40)))
        assert pull_all(journal) == list(range(40))
    assert read_numbers(journal) == list(range(40))


def test_exported_segments_go_first_and_nothing_is_lost(place: Place) -> None:
    journal = place.open(cap=10_000)
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(500)))
        pull_all(journal)
    _, end = journal.read(Cursor(), 1_000_000, HUGE)
    assert journal.crowded()
    assert journal.make_room(end) == end
    assert not journal.crowded()
    assert journal.size <= 10_000


@pytest.mark.parametrize("exported", [0, 1, 33, 150])
def test_what_must_go_unexported_is_counted_exactly(place: Place, exported: int) -> None:
    journal = place.open(cap=10_000)
    with writing(place.head) as first:
        append(first, *(notice(number) for number in range(300)))
        pull_all(journal)
    with writing(place.head) as second:
        append(second, *(notice(number) for number in range(300, 450)))
        pull_all(journal)
    _, cursor = journal.read(Cursor(), exported, HUGE)
    moved = journal.make_room(cursor)
    assert moved is not None
    (gap, *rest), end = journal.read(moved, 1_000_000, HUGE)
    assert isinstance(gap, Gap)
    assert exported + gap.count + len(rest) == 450
    assert (end.dropped, end.index) == (0, 150)


def test_without_export_the_bound_is_held_in_silence(place: Place) -> None:
    journal = place.open(cap=10_000)
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(500)))
        pull_all(journal)
    assert journal.make_room(None) is None
    assert journal.size <= 10_000


def test_a_clock_set_back_does_not_disturb_the_order(place: Place) -> None:
    """A later arc may give its segments lower names: the disk goes on counting."""
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, notice(1))
        pull_all(journal)
    (path,) = place.head.glob("*.seg")
    path.unlink()
    (place.kept / path.name).rename(place.kept / file_name(1 << 63))
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(2, 200)))
        assert pull_all(journal) == list(range(2, 200))
    assert read_numbers(place.open()) == list(range(1, 200))


def test_a_disk_that_refuses_loses_nothing(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(10)))
        pull_all(journal)
        append(writer, *(notice(number) for number in range(10, 20)))
        (kept,) = place.segments()
        away = kept.rename(place.kept / "away")
        kept.mkdir()
        with pytest.raises(OSError, match="Is a directory"):
            journal.pull()
        kept.rmdir()
        away.rename(kept)
        assert pull_all(journal) == list(range(10, 20))
    assert read_numbers(place.open()) == list(range(20))


def test_a_damaged_record_on_the_disk_ends_its_segment_and_shows_as_a_gap(place: Place) -> None:
    journal = place.open()
    with writing(place.head) as writer:
        append(writer, *(notice(number) for number in range(300)))
        pull_all(journal)
    first = place.segments()[0]
    data = bytearray(first.read_bytes())
    data[HEADER.size + 600] ^= 0xFF
    first.write_bytes(data)
    items, _ = place.open().read(Cursor(), 1_000_000, HUGE)
    (gap,) = (item for item in items if isinstance(item, Gap))
    assert gap.count + len(items) - 1 == 300


def test_one_plane_at_a_time(place: Place) -> None:
    place.open()
    second = Journal(place.head, place.kept, HUGE)
    with pytest.raises(BlockingIOError):
        second.open()
    place.close()
    second.open()
    second.close()
