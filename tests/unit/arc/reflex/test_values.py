"""Several control files in one act: all of them or none, and taken back only where they are still ours.

Plain files stand in for those of a cgroup; values have one length, as nothing cuts a plain file.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.reflex.acts import AbsentError, ForeignValueError
from controlplane.arc.reflex.values import CgroupValues, Setting, values_of
from controlplane.arc.reflex.victims import Victim
from controlplane.arc.reflex.weights import must_weight
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import NS, Step

SETTINGS = {"cpu": Setting("cpu.weight", must_weight), "io": Setting("io.weight", must_weight)}
STEP = Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 500), Amount("io", 200)))
VICTIM = Victim(7, "/a")


class Folder(Cgroups):
    """Every cgroup is one plain folder."""

    def must_open(self, cgroup: int) -> int:  # noqa: ARG002  # the shape of the real one
        return os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cpu.weight").write_text("100\n")
    (tmp_path / "io.weight").write_text("default 100\n8:0 50\n")
    return tmp_path


@pytest.fixture
def act(folder: Path) -> Iterator[CgroupValues]:
    made = values_of("reweigh", Folder(str(folder)), SETTINGS)
    yield made
    made.forget(VICTIM.cgroup)


def values(folder: Path) -> list[str]:
    return [(folder / name).read_text().split("\n")[0] for name in ("cpu.weight", "io.weight")]


def test_all_are_set_confirmed_and_written_back(act: CgroupValues, folder: Path) -> None:
    opened = act.must_open(VICTIM, STEP)
    assert opened.changes == (
        Change("cpu.weight", "100", "500"),
        Change("io.weight", "default 100", "default 200"),
    )
    assert not act.must_have(VICTIM, opened.changes)
    act.must_apply(opened)
    assert values(folder) == ["500", "default 200"]
    assert act.must_have(VICTIM, opened.changes)
    act.undo(VICTIM, opened.changes)
    assert values(folder) == ["100", "default 100"]


def test_when_one_cannot_be_set_none_is(act: CgroupValues, folder: Path) -> None:
    (folder / "io.weight").unlink()
    (folder / "io.weight").symlink_to("/dev/full")
    opened = act.must_open(VICTIM, STEP)
    with pytest.raises(OSError, match="No space left"):
        act.must_apply(opened)
    assert (folder / "cpu.weight").read_text() == "100\n"


def test_what_somebody_else_changed_is_left_and_the_rest_is_written_back(
    act: CgroupValues, folder: Path
) -> None:
    opened = act.must_open(VICTIM, STEP)
    act.must_apply(opened)
    (folder / "cpu.weight").write_text("300\n")
    with pytest.raises(ForeignValueError):
        act.undo(VICTIM, opened.changes)
    assert values(folder) == ["300", "default 100"]


def test_a_file_that_is_not_there_is_named(act: CgroupValues, folder: Path) -> None:
    (folder / "io.weight").unlink()
    with pytest.raises(AbsentError, match=r"no io\.weight"):
        act.must_open(VICTIM, STEP)
    assert values_of_cpu(folder) == "100"


def values_of_cpu(folder: Path) -> str:
    return (folder / "cpu.weight").read_text().strip()


def test_files_are_opened_ahead_for_what_the_step_sets(act: CgroupValues, folder: Path) -> None:
    act.prepare(VICTIM.cgroup, Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 500),)))
    (folder / "cpu.weight").rename(folder / "elsewhere")
    (folder / "io.weight").rename(folder / "elsewhere.too")
    assert act.must_open(VICTIM, Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 500),))).changes
    with pytest.raises(AbsentError):
        act.must_open(VICTIM, STEP)
