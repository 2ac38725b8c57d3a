"""Evidence of a frozen victim, written before it is killed, on the running kernel."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.reflex import jobs
from controlplane.errand.evidence import MAX_BYTES, MAX_FILES, delete_oldest, write
from controlplane.link.records import Effect, Intent, Outcome
from controlplane.link.rules import NS, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

Turn = Callable[..., Turned]
LADDER = (Step("freeze", for_ns=60 * NS), Step("evidence"), Step("kill"))


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy, a child may begin later than evidence may take."""
    monkeypatch.setattr(jobs, "EVIDENCE_NS", 30 * NS)


def files(turned: Turned) -> list[Path]:
    return sorted(Path(turned.config.state_dir, "evidence").iterdir())


def test_who_is_killed_is_written_down_first(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, *LADDER))
    culprit = cgroup.run("sh", "-c", f"TOKEN=hidden; export TOKEN; {FORKER[2]}", "who-was-it")
    fork_in(culprit, 5)
    turned.turn_until(lambda: {effect.act for effect in turned.of(Effect)} == {"freeze", "evidence", "kill"})
    frozen, taken, killed = (
        next(one for one in turned.of(Outcome) if one.act == act) for act in ("freeze", "evidence", "kill")
    )
    assert frozen.time_ns < taken.time_ns < killed.time_ns
    (file,) = files(turned)
    assert taken.detail == str(file)
    text = file.read_text()
    for part in ("who-was-it", "== cgroup.events", "frozen 1", "== smaps_rollup", "== stack", "0 -> pipe:"):
        assert part in text
    assert "TOKEN=hidden;" in text  # its command line is read
    assert "HOME=" not in text  # its environment is not
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_one_process_is_written_down(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(cgroup, *LADDER, signal="process.exec", per="process", name="test-exec")
    turned = turn(rule)
    culprit = cgroup.run("sh", "-c", "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'")
    fork_in(culprit, 1)
    turned.turn_until(lambda: "kill" in {effect.act for effect in turned.of(Effect)})
    (file,) = files(turned)
    assert f"==== process {culprit.pid}\n" in file.read_text()


def test_the_freeze_does_not_wait_for_it(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, *LADDER))
    fork_in(cgroup.run(*FORKER), 5)
    assert turned.await_record(Outcome).act == "freeze"
    turned.turn_until(lambda: len(turned.of(Intent)) > 1)
    assert [intent.act for intent in turned.of(Intent)][:2] == ["freeze", "evidence"]


def test_without_evidence_the_kill_comes_all_the_same(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "evidence").mkdir(parents=True, mode=0o755)
    turned = turn(fork_rule(cgroup, *LADDER))
    fork_in(cgroup.run(*FORKER), 5)
    turned.turn_until(lambda: "kill" in {effect.act for effect in turned.of(Effect)})
    taken = next(outcome for outcome in turned.of(Outcome) if outcome.act == "evidence")
    assert (taken.ok, "not root's alone" in taken.error) == (False, True)


def test_a_folder_that_was_replaced_by_a_link_is_not_written_to(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "evidence").symlink_to(elsewhere)
    turned = turn(fork_rule(cgroup, Step("evidence"), cooldown_ns=60 * NS))
    fork_in(cgroup.run(*FORKER), 5)
    assert not turned.await_record(Outcome).ok
    assert list(elsewhere.iterdir()) == []


def test_the_oldest_are_deleted_and_counted(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "evidence"
    folder.mkdir(parents=True, mode=0o700)
    for number in range(MAX_FILES + 2):
        (folder / f"2026{number:04}.txt").touch()
    turned = turn(fork_rule(cgroup, Step("evidence"), cooldown_ns=60 * NS))
    fork_in(cgroup.run(*FORKER), 5)
    turned.await_record(Outcome)
    assert len(files(turned)) == MAX_FILES
    assert "20260002.txt" not in {file.name for file in files(turned)}
    assert "20260003.txt" in {file.name for file in files(turned)}
    assert turned.arc.engine.steps["evidence", "deleted"] == 3


def test_its_size_has_a_bound(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "evidence", os.O_WRONLY | os.O_CREAT)
    assert write(fd, ["x" * 1000])
    assert not write(fd, itertools.repeat("x" * 1000))
    os.close(fd)
    assert (tmp_path / "evidence").stat().st_size == 1000 + MAX_BYTES


@pytest.mark.parametrize(("there", "keep", "left"), [(3, 3, 3), (3, 1, 1), (0, 2, 0)])
def test_so_many_are_kept(tmp_path: Path, there: int, keep: int, left: int) -> None:
    for number in range(there):
        (tmp_path / str(number)).touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    assert delete_oldest(fd, keep) == there - left
    os.close(fd)
    assert [file.name for file in sorted(tmp_path.iterdir())] == [
        str(number) for number in range(there - left, there)
    ]
