"""`reflexarc undo --all --offline`: what a dead daemon has left is taken back without one, and journalled."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.cli.main import main
from controlplane.link.records import Change, Undo
from tests.kernel.conftest import TestCgroup, Turned
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]


def undo(folder: Path, *words: str) -> int:
    return main(["undo", "--all", "--offline", "--runtime-dir", str(folder / "run"), *words])


def test_a_frozen_cgroup_is_thawed_and_the_next_daemon_knows(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cgroup.directory / "cgroup.freeze").write_text("1")
    leave_journal(tmp_path, intent_on(cgroup))
    assert undo(tmp_path) == 0
    assert cgroup.read("cgroup.freeze") == "0"
    assert capsys.readouterr().out == f"freeze of {cgroup.path}: undone\n1 undone\n"
    (cgroup.directory / "cgroup.freeze").write_text("1")
    (record,) = turn().of(Undo)
    assert (record.reason, record.actor, record.ok) == ("command", "offline", True)
    assert cgroup.read("cgroup.freeze") == "1"


def test_the_values_of_others_are_left_and_it_says_so(
    cgroup: TestCgroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = cgroup.run("sleep", "60")
    start_ns = int(Path(f"/proc/{me.pid}/stat").read_text().rpartition(")")[2].split()[19]) * 10**7
    nice = intent_on(
        cgroup, 2, act="reweigh", pid=me.pid, start_ns=start_ns, changes=(Change("nice", "0", "5"),)
    )
    os.setpriority(os.PRIO_PROCESS, me.pid, 7)
    leave_journal(tmp_path, intent_on(cgroup), nice)
    assert undo(tmp_path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["undone"], [act["error"] for act in said["acts"]]) == (2, ["foreign", "foreign"])
    assert os.getpriority(os.PRIO_PROCESS, me.pid) == 7


def test_not_beside_a_daemon(turn: Turn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turn()
    assert undo(tmp_path) == 4
    said = capsys.readouterr().err
    assert f"already running with pid {os.getpid()}" in said
    assert "`reflexarc undo --all`" in said


def test_where_no_daemon_was_there_is_nothing_to_undo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert undo(tmp_path) == 0
    assert (capsys.readouterr().out, list(tmp_path.iterdir())) == ("0 undone\n", [])


def test_one_reflex_alone_is_not_undone_offline(tmp_path: Path) -> None:
    assert main(["undo", "0" * 32, "--offline", "--runtime-dir", str(tmp_path)]) == 2
