"""What was learned, over a restart: written whole, read with suspicion."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.arc import baselines
from controlplane.arc.baselines import BOOT_ID, Saved, UnreadableError, load, save
from controlplane.arc.monitor.past import Past, SavedPast

PAST = Past(0, 0).saved(5, 77)


def saved(*pasts: SavedPast) -> Saved:
    return Saved(boot=BOOT_ID.read_text().strip(), pasts=list(pasts))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_what_is_saved_is_loaded(folder: int) -> None:
    save(folder, saved(PAST))
    assert load(folder).pasts == [PAST]


def test_without_a_file_nothing_is_known(folder: int) -> None:
    assert load(folder) == Saved()


def test_the_keys_of_another_boot_mean_nothing(
    folder: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save(folder, saved(PAST))
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(baselines, "BOOT_ID", other)
    assert load(folder) == Saved()


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x93", b"not msgpack", msgspec.msgpack.encode([2, "", {}, [], []])]
)
def test_a_damaged_file_is_refused(folder: int, tmp_path: Path, data: bytes) -> None:
    (tmp_path / baselines.NAME).write_bytes(data)
    with pytest.raises(UnreadableError):
        load(folder)


def test_a_cut_file_is_refused(folder: int, tmp_path: Path) -> None:
    save(folder, saved(PAST, PAST, PAST))
    path = tmp_path / baselines.NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnreadableError):
        load(folder)


def test_a_huge_file_is_not_read(folder: int, tmp_path: Path) -> None:
    os.truncate(os.open(tmp_path / baselines.NAME, os.O_CREAT | os.O_WRONLY), baselines.MAX_BYTES + 1)
    with pytest.raises(UnreadableError, match="larger than"):
        load(folder)


def test_a_link_is_not_followed(folder: int, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / baselines.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreadableError):
        load(folder)
