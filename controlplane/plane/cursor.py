"""How far the collector has acknowledged the journal, and the file that remembers it.

Knows places, not records: what lies between two places is read by `journal`.
"""

import os
from pathlib import Path

import msgspec

from controlplane.link.malformed import MALFORMED
from controlplane.link.segment import HEADER, Entry, Header


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The first place not yet acknowledged. The default lies before everything."""

    segment: int = 0
    """Number of the segment on the disk."""
    offset: int = HEADER.size
    instance: int = 0
    """Arc that wrote the last acknowledged record, 0 before the first."""
    index: int = 0
    """Index that follows the last acknowledged record."""
    dropped: int = 0
    """Records given up for want of room and not yet told."""

    def missing(self, header: Header, index: int) -> int:
        """Records that should lie between this place and a record of that index, and do not.

        An arc counts its records from 0; before the very first acknowledgement nothing is missed.
        """
        expected = self.index if header.instance == self.instance else 0
        return max(index - expected, 0) if self.instance else 0

    @staticmethod
    def behind(segment: int, header: Header, entry: Entry) -> "Cursor":
        """The place behind a record of a segment."""
        return Cursor(segment=segment, offset=entry.end, instance=header.instance, index=entry.index + 1)


_DECODER = msgspec.json.Decoder(Cursor)


def load(path: Path) -> Cursor:
    """The remembered place; the beginning where none was, or where the file cannot be read.

    To begin again repeats records, each recognisable by its uid; to guess would lose some.
    """
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, *MALFORMED):
        return Cursor()


def save(path: Path, cursor: Cursor) -> None:
    """Replace the file at once and for good: after a crash it holds the old place or the new one."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(cursor))
        file.flush()
        os.fdatasync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names created, replaced or removed in a directory survive a power cut."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
