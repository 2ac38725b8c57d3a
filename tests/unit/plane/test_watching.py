"""When files change, by whatever way, it is told; when nothing does, nothing is."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.plane.watching import watching


def swap(folder: Path) -> None:
    (folder / "fresh").symlink_to("two")
    (folder / "fresh").rename(folder / "data")


def write(folder: Path) -> None:
    (folder / "file").write_text("new")


def rename(folder: Path) -> None:
    (folder / "other").rename(folder / "file")


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": write,
    "replaced": rename,
    "removed": lambda folder: (folder / "file").unlink(),
    "made readable": lambda folder: (folder / "file").chmod(0o644),
    "where a link leads": lambda folder: (folder / "one/linked").write_text("new"),
    "the link above": swap,
}


def made(folder: Path) -> list[Path]:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "linked").write_text(name)
    (folder / "data").symlink_to("one")
    (folder / "linked").symlink_to("data/linked")
    for name in ("file", "other"):
        (folder / name).write_text("old")
    return [folder / "file", folder / "linked"]


def run(scenario: Callable[[asyncio.Semaphore], Awaitable[None]], files: list[Path]) -> None:
    async def main() -> None:
        told = asyncio.Semaphore(0)
        with watching(files, told.release):
            await asyncio.wait_for(scenario(told), 10)

    asyncio.run(main())


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told(tmp_path: Path, name: str) -> None:
    async def scenario(told: asyncio.Semaphore) -> None:
        CHANGES[name](tmp_path)
        await told.acquire()

    run(scenario, made(tmp_path))


def test_after_a_swap_the_new_folder_is_watched(tmp_path: Path) -> None:
    async def scenario(told: asyncio.Semaphore) -> None:
        swap(tmp_path)
        await told.acquire()
        (tmp_path / "two/linked").write_text("newer")
        await told.acquire()

    run(scenario, made(tmp_path))


def test_several_changes_at_once_are_told_once(tmp_path: Path) -> None:
    async def scenario(told: asyncio.Semaphore) -> None:
        for number in range(50):
            (tmp_path / "file").write_text(str(number))
        await told.acquire()
        assert told.locked()

    run(scenario, made(tmp_path))


def test_reading_is_no_change(tmp_path: Path) -> None:
    async def scenario(told: asyncio.Semaphore) -> None:
        (tmp_path / "file").read_text()
        swap(tmp_path)
        await told.acquire()
        assert told.locked()

    run(scenario, made(tmp_path))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    async def scenario(_: asyncio.Semaphore) -> None:
        raise AssertionError("it was watched")

    with pytest.raises(FileNotFoundError):
        run(scenario, [tmp_path / "missing" / "file"])
