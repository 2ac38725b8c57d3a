"""Bytes of a journal segment: header, then records, each committed by writing its length last.

    header (64):  magic 8 | version u32 | header size u32 | segment u64 | instance u64
                  | first index u64 | wall_ns - monotonic_ns i64 | boot id 16
    record:       length u32 | crc32(index, payload) u32 | index u64 | payload, padded to 8
    end:          length 0 or end of file: nothing written yet;  0xffffffff: sealed, go on with the
                  next segment (the writer always leaves room for this mark)

The file is preallocated with zeros and written through a memory map, so a reader in another process
sees a record either whole or not at all; a torn tail after a crash fails its checksum and ends the segment.
Pure: works on buffers, opens nothing.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

MAGIC: Final = b"RFLXJNL1"
VERSION: Final = 1
HEADER: Final = struct.Struct("<8sIIQQQq16s")
RECORD: Final = struct.Struct("<IIQ")
LENGTH: Final = struct.Struct("<I")
INDEX: Final = struct.Struct("<Q")
SEALED: Final = 0xFFFF_FFFF
MAX_PAYLOAD: Final = 64 * 1024

assert HEADER.size == 64


class Header(NamedTuple):
    """Of one segment. `segment` is its name and orders segments; `instance` is the arc that wrote it."""

    segment: int
    instance: int
    first_index: int
    wall_offset_ns: int
    """CLOCK_REALTIME minus CLOCK_MONOTONIC when the segment was begun."""
    boot_id: bytes


class Entry(msgspec.Struct, frozen=True):
    """One record's place and bytes."""

    index: int
    payload: bytes
    end: int
    """Offset of the next record."""


class DamagedSegmentError(ValueError):
    """The header is not one of ours."""


def file_name(segment: int) -> str:
    """Name of a segment's file; sorts in the order of writing."""
    return f"{segment:016x}.seg"


def segment_of(name: str) -> int | None:
    """Inverse of `file_name`; None for any other file."""
    stem, dot, ending = name.partition(".")
    if not dot or ending != "seg" or len(stem) != 16:
        return None
    try:
        return int(stem, 16)
    except ValueError:
        return None


def pack_header(header: Header) -> bytes:
    """The first 64 bytes of a segment."""
    return HEADER.pack(
        MAGIC,
        VERSION,
        HEADER.size,
        header.segment,
        header.instance,
        header.first_index,
        header.wall_offset_ns,
        header.boot_id,
    )


def read_header(buffer: bytes | memoryview) -> Header:
    """Raises DamagedSegmentError on anything that is not a header of this version."""
    if len(buffer) < HEADER.size:
        raise DamagedSegmentError("shorter than a header")
    magic, version, size, segment, instance, first, offset, boot = HEADER.unpack_from(buffer)
    if magic != MAGIC or version != VERSION or size != HEADER.size:
        raise DamagedSegmentError(f"not a version {VERSION} segment")
    return Header(segment, instance, first, offset, boot)


def padded(length: int) -> int:
    """Bytes a record with that payload occupies."""
    return RECORD.size + (length + 7 & ~7)


def checksum(index: int, payload: bytes | memoryview) -> int:
    """Of a record; covers its index so that a stale record cannot pass for a new one."""
    return zlib.crc32(payload, zlib.crc32(INDEX.pack(index)))


def read_entries(buffer: bytes | memoryview, offset: int) -> Iterator[Entry]:
    """Whole records from `offset` on; ends at the first that is absent, sealed or damaged."""
    while (entry := read_entry(buffer, offset)) is not None:
        yield entry
        offset = entry.end


def read_entry(buffer: bytes | memoryview, offset: int) -> Entry | None:
    """The record at `offset`, None where there is none (yet) or it is damaged."""
    if offset + RECORD.size > len(buffer):
        return None
    length, crc, index = RECORD.unpack_from(buffer, offset)
    if length == 0 or length > MAX_PAYLOAD:
        return None
    start = offset + RECORD.size
    payload = bytes(buffer[start : start + length])
    if len(payload) != length or checksum(index, payload) != crc:
        return None
    return Entry(index, payload, offset + padded(length))


def is_sealed(buffer: bytes | memoryview, offset: int) -> bool:
    """Whether the writer went on to another segment at `offset`."""
    if offset + LENGTH.size > len(buffer):
        return False
    return bool(LENGTH.unpack_from(buffer, offset)[0] == SEALED)
