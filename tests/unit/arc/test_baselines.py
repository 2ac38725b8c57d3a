"""What was learned, over a restart: written whole, read with suspicion."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.arc import baselines
from controlplane.arc.baselines import (
    BOOT_ID,
    LENGTH,
    PART,
    VERSION,
    Baselines,
    Head,
    Part,
    UnreadableError,
    load,
    save,
)
from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.past import Past
from controlplane.arc.monitor.streams import Monitor, SavedTest
from controlplane.link.signals import BY_NAME
from tests.unit.arc.monitor.test_bookmaker import Slot

PAST = Past(0, 0).saved(5, 77)
LEARNED = SavedTest("surge", 77, (1.0, 2.0))


def piece(value: object) -> bytes:
    data = msgspec.msgpack.encode(value)
    return len(data).to_bytes(LENGTH) + data


def write(folder: int, *parts: Part) -> None:
    save(folder, Head(boot=BOOT_ID.read_text().strip()), iter(parts))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_what_is_saved_is_loaded(folder: int) -> None:
    write(folder, Part(pasts=[PAST]), Part(pasts=[PAST], tests=[LEARNED]))
    _, part = load(folder)
    assert part == Part(pasts=[PAST, PAST], tests=[LEARNED])


def test_without_a_file_nothing_is_known(folder: int) -> None:
    assert load(folder) == (Head(), Part())


def test_the_keys_of_another_boot_mean_nothing(
    folder: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(folder, Part(pasts=[PAST]))
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(baselines, "BOOT_ID", other)
    assert load(folder) == (Head(), Part())


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x00", b"\x93", b"not msgpack", b"\xff\xff\xff\xff", bytes(LENGTH)),
        *(piece([VERSION + 1, "", {}]), piece([VERSION, BOOT_ID.read_text().strip(), {}]) + piece("no part")),
    ],
)
def test_a_damaged_file_is_refused(folder: int, tmp_path: Path, data: bytes) -> None:
    (tmp_path / baselines.NAME).write_bytes(data)
    with pytest.raises(UnreadableError):
        load(folder)


def test_a_cut_file_is_refused(folder: int, tmp_path: Path) -> None:
    write(folder, Part(pasts=[PAST, PAST, PAST]))
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


def test_the_ring_goes_first_between_parts(folder: int) -> None:
    breaths: list[int] = []
    maker = Bookmaker(Slot())
    maker.restore((Past(0, 0).saved(5, key) for key in range(3 * PART)), 1)
    numbers = {signal.name: number for number, signal in enumerate(BY_NAME.values())}

    def come_and_go() -> None:
        breaths.append(len(maker.pasts))
        maker.forget(3 * PART - len(breaths))

    kept = Baselines(folder, maker, Monitor(numbers), BY_NAME, come_and_go)
    kept.save()
    assert len(breaths) == 3
    assert [past.key for past in load(folder)[1].pasts] == list(range(3 * PART))
    kept.tend(1)
    assert len(load(folder)[1].pasts) == 3 * PART - 3
