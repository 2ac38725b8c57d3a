"""The writing end of the journal: preallocated segments on tmpfs, appended to through a memory map.

Owns the head directory. `must_append` makes no system call while the segment has room; `tend`,
called between batches, keeps a spare segment ready and drops the oldest beyond the bound.
"""

import mmap
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from controlplane.link.malformed import MALFORMED
from controlplane.link.records import DECODER, ENCODER, Intent, Record
from controlplane.link.segment import (
    HEADER,
    INDEX,
    LENGTH,
    MAX_PAYLOAD,
    RECORD,
    SEALED,
    DamagedSegmentError,
    Header,
    file_name,
    pack_header,
    padded,
    read_entries,
    read_header,
    segment_of,
)

SPARE: Final = "spare"
LOW_WATER: Final = 3 / 4
"""A spare is made when the segment is fuller than this."""


def boot_id() -> bytes:
    """16 bytes that differ from boot to boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


class Journal:
    """One arc's journal. `carry` gives the acts in force, which each new segment repeats."""

    def __init__(
        self, directory: int, size: int, keep: int, gid: int, carry: Callable[[], Iterable[Intent]]
    ) -> None:
        self._directory = directory
        self._size = size
        self._keep = keep
        self._gid = gid
        self._carry = carry
        self._boot_id = boot_id()
        self._buffer = bytearray(MAX_PAYLOAD)
        self._spare: mmap.mmap | None = None
        self._at = 0
        self.index = 0
        self.dropped = 0
        """Records for which there was no room at all."""
        self.dirty = False
        """Appended to since the doorbell was last rung."""
        self._segments = list_segments(directory)
        self.instance = self._new_name()
        self._map = self._begin()

    def must_append(self, record: Record) -> None:
        """Commit one record; when no segment can be had it is counted as dropped."""
        ENCODER.encode_into(record, self._buffer)
        length = len(self._buffer)
        if self._at + padded(length) + LENGTH.size > self._size:
            if not self._roll(length):
                self.dropped += 1
                return
            # The buffer was used for what is carried over.
            ENCODER.encode_into(record, self._buffer)
        at = self._at
        start = at + RECORD.size
        self._map[start : start + length] = self._buffer
        crc = zlib.crc32(self._buffer, zlib.crc32(INDEX.pack(self.index)))
        RECORD.pack_into(self._map, at, 0, crc, self.index)
        LENGTH.pack_into(self._map, at, length)
        self._at = at + padded(length)
        self.index += 1
        self.dirty = True

    def tend(self) -> None:
        """Between batches: have a spare ready, hold the bound."""
        if self._spare is None and self._at > self._size * LOW_WATER:
            self._spare = self._make_spare()
        while len(self._segments) > self._keep:
            self._remove(self._segments[0])

    def begin_anew(self) -> None:
        """Go on in another segment, which knows the wall clock of now, if there is room for one."""
        self._roll(0)

    def moved(self, segment: int) -> bool:
        """The plane has a synced copy of a segment: delete ours, unless it is the one being written."""
        if segment not in self._segments or segment == self._segments[-1]:
            return False
        self._remove(segment)
        return True

    def close(self) -> None:
        """Unmap; the files stay for the plane and the next arc."""
        self._map.close()
        if self._spare is not None:
            self._spare.close()
            os.unlink(SPARE, dir_fd=self._directory)

    def _roll(self, length: int) -> bool:
        """For want of room for so many bytes, or of a reason to stay."""
        if length > MAX_PAYLOAD:
            return False
        spare = self._spare or self._make_spare()
        self._spare = None
        if spare is None:
            return False
        LENGTH.pack_into(self._map, self._at, SEALED)
        self._map.close()
        self._map = self._begin(spare)
        for intent in self._carry():
            self.must_append(msgspec.structs.replace(intent, carried=True))
        return True

    def _begin(self, spare: mmap.mmap | None = None) -> mmap.mmap:
        if spare is None:
            spare = self._make_spare()
        if spare is None:
            raise OSError("no room for the journal in the runtime directory")
        segment = self._new_name()
        offset = time.time_ns() - time.monotonic_ns()
        header = Header(segment, self.instance, self.index, offset, self._boot_id)
        spare[: HEADER.size] = pack_header(header)
        os.rename(SPARE, file_name(segment), src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._segments.append(segment)
        self._at = HEADER.size
        return spare

    def _new_name(self) -> int:
        newest = self._segments[-1] if self._segments else 0
        return max(time.time_ns(), newest + 1)

    def _make_spare(self) -> mmap.mmap | None:
        try:
            fd = os.open(SPARE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640, dir_fd=self._directory)
        except OSError:
            return None
        try:
            os.fchown(fd, -1, self._gid)
            os.posix_fallocate(fd, 0, self._size)
            return mmap.mmap(fd, self._size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except OSError:
            os.unlink(SPARE, dir_fd=self._directory)
            return None
        finally:
            os.close(fd)

    def _remove(self, segment: int) -> None:
        self._segments.remove(segment)
        os.unlink(file_name(segment), dir_fd=self._directory)


def list_segments(directory: int) -> list[int]:
    """Segments that exist, oldest first."""
    found = (segment_of(name) for name in os.listdir(directory))
    return sorted(segment for segment in found if segment is not None)


def read_records(directory: int) -> Iterator[tuple[Header, Record]]:
    """What is readable of all segments, in order. Damaged segments and records are passed over."""
    for segment in list_segments(directory):
        fd = os.open(file_name(segment), os.O_RDONLY, dir_fd=directory)
        try:
            buffer = os.read(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        try:
            header = read_header(buffer)
        except DamagedSegmentError:
            continue
        for entry in read_entries(buffer, HEADER.size):
            try:
                yield header, DECODER.decode(entry.payload)
            except MALFORMED:
                continue
