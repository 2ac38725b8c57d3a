"""The place that is remembered, and what is missing between two places."""

from pathlib import Path

import pytest

from controlplane.link.segment import Entry, Header
from controlplane.plane import cursor as cursors
from controlplane.plane.cursor import Cursor

HEADER = Header(segment=1, instance=7, first_index=0, wall_offset_ns=0, boot_id=bytes(16))
PLACE = Cursor.behind(3, HEADER, Entry(41, b"", 512))


def test_it_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    cursors.save(path, Cursor())
    cursors.save(path, PLACE)
    assert cursors.load(path) == PLACE
    assert [file.name for file in tmp_path.iterdir()] == ["export.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"segment": "x"}', b"\xff\xfe", b"null"])
def test_a_file_that_means_nothing_is_the_beginning(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    assert cursors.load(path) == Cursor()


def test_no_file_is_the_beginning(tmp_path: Path) -> None:
    assert cursors.load(tmp_path / "none") == Cursor()


@pytest.mark.parametrize(
    ("place", "instance", "index", "missing"),
    [
        (PLACE, 7, 42, 0),
        (PLACE, 7, 45, 3),
        (PLACE, 7, 12, 0),
        (PLACE, 8, 0, 0),
        (PLACE, 8, 5, 5),
        (Cursor(), 8, 5, 0),
    ],
)
def test_what_is_missing(place: Cursor, instance: int, index: int, missing: int) -> None:
    assert place.missing(HEADER._replace(instance=instance), index) == missing
