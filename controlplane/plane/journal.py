"""The journal on the disk: segments copied from the arc's head, synced, read back and removed.

Owns the files in `<state_dir>/journal`, and nothing else: what is synced is handed on by `pump`, what is
acknowledged is known to `cursor`. Blocking; every call comes from one thread.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from controlplane.link.segment import (
    HEADER,
    LENGTH,
    SEALED,
    DamagedSegmentError,
    Entry,
    Header,
    file_name,
    is_sealed,
    pack_header,
    read_entries,
    read_header,
    segment_of,
)
from controlplane.plane.cursor import Cursor, sync_directory

CHUNK: Final = 256 * 1024
"""Bytes moved at a time; holds at least one record of the greatest length."""
SEAL: Final = LENGTH.pack(SEALED)


class Stored(NamedTuple):
    """One record on the disk."""

    header: Header
    entry: Entry

    @property
    def uid(self) -> str:
        """Its identity, the same however often it is told."""
        return f"{self.header.instance:016x}-{self.entry.index}"


@dataclass(frozen=True)
class Gap:
    """Records that were written once and are on no disk."""

    before: Stored
    """The record that follows."""
    count: int

    @property
    def uid(self) -> str:
        """Its identity, the same however often it is told."""
        return f"{self.before.uid}-gap"


class Pulled(NamedTuple):
    """What one `pull` brought."""

    stored: list[Stored]
    moved: list[int]
    """Head segments that are whole on the disk: the arc may delete its own."""


@dataclass
class Segment:
    """One file on the disk. `size` counts what is whole and synced."""

    number: int
    path: Path
    header: Header
    size: int
    sealed: bool


class Journal:
    """Segments under `kept`, at most `cap` bytes of them, fed from `head`."""

    def __init__(self, head: Path, kept: Path, cap: int) -> None:
        self._head = head
        self._kept = kept
        self._cap = cap
        self._buffer = bytearray(CHUNK)
        self._lock: BinaryIO | None = None
        self._segments: dict[int, Segment] = {}
        """By number, in order."""
        self._copies: dict[int, Segment] = {}
        """The copy of each segment of the head, by the head's number."""

    def open(self) -> None:
        """Lock the folder and take stock of it; a torn tail is cut back to the last whole record.

        Raises OSError, after which it may be tried again: BlockingIOError while another plane holds the lock.
        """
        self._kept.mkdir(mode=0o700, exist_ok=True)
        if self._lock is None:
            # Read only, or it would keep the file system from being made so.
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            lock = os.fdopen(os.open(self._kept / "lock", flags, 0o600), "rb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                raise
            self._lock = lock
        self._segments.clear()
        paths = sorted(path for path in self._kept.iterdir() if segment_of(path.name) is not None)
        for path in paths:
            segment = _take_stock(path, torn=path is paths[-1])
            if segment is not None:
                self._segments[segment.number] = segment

    def close(self) -> None:
        """Leave the folder to the next plane."""
        if self._lock is not None:
            self._lock.close()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(segment.size for segment in list(self._segments.values()))

    def crowded(self) -> bool:
        """Whether `make_room` has something to do."""
        return self.size > self._cap and len(self._segments) > 1

    def backlog(self, cursor: Cursor) -> int:
        """Bytes of records behind a place."""
        sizes = (
            segment.size - (cursor.offset if number == cursor.segment else HEADER.size)
            for number, segment in list(self._segments.items())
            if number >= cursor.segment
        )
        return sum(size for size in sizes if size > len(SEAL))

    def pull(self) -> Pulled:
        """Copy and sync what is new in the head, at most one chunk of each segment. Raises OSError.

        After an error nothing is lost: the next call begins where the last good one ended.
        """
        names = (path.name for path in self._head.iterdir())
        numbers = sorted(number for name in names if (number := segment_of(name)) is not None)
        self._copies = {number: copy for number, copy in self._copies.items() if number in numbers}
        pulled = Pulled([], [])
        for number in numbers:
            stored, whole = self._pull_one(number)
            pulled.stored.extend(stored)
            if stored and not whole:
                break
        self._seal_orphans(numbers)
        pulled.moved.extend(number for number, copy in self._copies.items() if copy.sealed)
        return pulled

    def missing(self, place: Cursor) -> int:
        """Records behind a place that are no more in the head, by its oldest segment. Raises OSError."""
        for path in sorted(path for path in self._head.iterdir() if segment_of(path.name) is not None):
            with suppress(FileNotFoundError, DamagedSegmentError), path.open("rb") as file:
                header = read_header(file.read(HEADER.size))
                return place.missing(header, header.first_index)
        return 0

    def _pull_one(self, number: int) -> tuple[list[Stored], bool]:
        copy = self._copies.get(number)
        if copy is not None and copy.sealed:
            return [], True
        try:
            source = os.open(self._head / file_name(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], True  # the arc had to drop it; the gap in the index tells how much was in it
        try:
            if copy is None:
                copy = self._copies[number] = self._copy_of(read_header(os.pread(source, HEADER.size, 0)))
            length = os.preadv(source, [self._buffer], copy.size)
        except DamagedSegmentError:
            return [], True  # as good as dropped
        finally:
            os.close(source)
        return self._append(copy, memoryview(self._buffer)[:length]), copy.sealed

    def _copy_of(self, header: Header) -> Segment:
        """The file a head segment goes to: the one begun earlier, or a new one behind all others."""
        for segment in reversed(self._segments.values()):
            if segment.header == header:
                return segment
        last = next(reversed(self._segments), -1)
        # After a reboot the arc may count from the start again: the order on the disk must not suffer.
        number = max(header.segment, last + 1)
        segment = Segment(number, self._kept / file_name(number), header, HEADER.size, sealed=False)
        with segment.path.open("wb") as file:
            file.write(pack_header(header))
            file.flush()
            os.fdatasync(file.fileno())
        sync_directory(self._kept)
        self._segments[number] = segment
        return segment

    def _append(self, copy: Segment, new: memoryview) -> list[Stored]:
        entries = list(read_entries(new, 0))
        end = entries[-1].end if entries else 0
        sealed = is_sealed(new, end)
        if sealed:
            end += len(SEAL)
        if end:
            _write(copy.path, copy.size, new[:end])
        base = copy.size
        copy.size += end
        copy.sealed = sealed
        return [Stored(copy.header, Entry(entry.index, entry.payload, base + entry.end)) for entry in entries]

    def _seal_orphans(self, numbers: list[int]) -> None:
        """Close what a dead arc left open: a later segment by another arc shows that it is dead."""
        copies = [self._copies[number] for number in numbers if number in self._copies]
        for copy, following in pairwise(copies):
            if not copy.sealed and copy.header.instance != following.header.instance:
                _write(copy.path, copy.size, memoryview(SEAL))
                copy.size += len(SEAL)
                copy.sealed = True

    def last(self, segments: int) -> Iterator[Stored]:
        """The records of the last segments."""
        for segment in list(self._segments.values())[-segments:]:
            yield from _records(segment, HEADER.size)

    def read(self, cursor: Cursor, records: int, size: int) -> tuple[list[Stored | Gap], Cursor]:
        """What follows a place, at most about so many records and bytes, and the place behind it."""
        items: list[Stored | Gap] = []
        for segment in [segment for segment in self._segments.values() if segment.number >= cursor.segment]:
            offset = cursor.offset if segment.number == cursor.segment else HEADER.size
            for stored in _records(segment, offset):
                if len(items) >= records or size <= 0:
                    return items, cursor
                if missing := cursor.dropped + cursor.missing(stored.header, stored.entry.index):
                    items.append(Gap(stored, missing))
                items.append(stored)
                cursor = Cursor.behind(segment.number, stored.header, stored.entry)
                size -= len(stored.entry.payload)
        return items, cursor

    def make_room(self, cursor: Cursor | None) -> Cursor | None:
        """Remove the oldest segments until the rest is within the cap.

        Returns the place moved past what was removed before it was acknowledged, with the exact number
        of records in `dropped`; None stays None: without export nothing waits to be acknowledged.
        """
        while self.crowded():
            oldest, following = list(self._segments.values())[:2]
            if cursor is not None and cursor.segment <= oldest.number:
                cursor = _give_up(cursor, oldest, following)
            oldest.path.unlink(missing_ok=True)
            del self._segments[oldest.number]
        return cursor


def _take_stock(path: Path, *, torn: bool) -> Segment | None:
    """`torn`: it may have been in writing when the power went, so its end proves nothing."""
    number = segment_of(path.name)
    assert number is not None
    with path.open("r+b") as file:
        try:
            header = read_header(file.read(HEADER.size))
        except DamagedSegmentError:
            # Not even its beginning is ours: kept for a person to look at, out of the way of a new one.
            path.replace(path.with_suffix(".damaged"))
            return None
        size = file.seek(0, os.SEEK_END)
        # Records are padded to 8 bytes, so only a sealed file ends 4 bytes off.
        sealed = size % 8 == len(SEAL) and os.pread(file.fileno(), len(SEAL), size - len(SEAL)) == SEAL
        segment = Segment(number, path, header, size, sealed)
        if torn or not sealed:
            end = max((stored.entry.end for stored in _records(segment, HEADER.size)), default=HEADER.size)
            segment.sealed = sealed and size == end + len(SEAL)
            segment.size = size if segment.sealed else end
            file.truncate(segment.size)
        return segment


def _records(segment: Segment, offset: int) -> Iterator[Stored]:
    """Whole records from an offset on, read a chunk at a time."""
    with segment.path.open("rb") as file:
        while offset < segment.size:
            data = os.pread(file.fileno(), min(CHUNK, segment.size - offset), offset)
            start = offset
            for entry in read_entries(data, 0):
                offset = start + entry.end
                yield Stored(segment.header, Entry(entry.index, entry.payload, offset))
            if offset == start:
                return


def _write(path: Path, offset: int, data: memoryview) -> None:
    """At its place rather than at the end, so that a write that failed half-way is simply repeated."""
    target = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        while data:
            written = os.pwrite(target, data, offset)
            data, offset = data[written:], offset + written
        os.fdatasync(target)
    finally:
        os.close(target)


def _give_up(cursor: Cursor, oldest: Segment, following: Segment) -> Cursor:
    """The place at the beginning of `following`, with all that lay before it counted as dropped."""
    header = oldest.header
    if following.header.instance == header.instance:
        end = following.header.first_index
    else:
        ends = (stored.entry.index + 1 for stored in _records(oldest, HEADER.size))
        end = max(ends, default=header.first_index)
    begin = {header.instance: cursor.index, 0: header.first_index}.get(cursor.instance, 0)
    return Cursor(
        segment=following.number,
        instance=header.instance,
        index=end,
        dropped=cursor.dropped + max(end - begin, 0),
    )
