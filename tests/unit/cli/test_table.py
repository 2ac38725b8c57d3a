"""`reflexarc table`: for people, for machines, as a page, and of one policy."""

import json
from pathlib import Path

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main
from controlplane.policy.table import page, rows


def told(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> tuple[int, str, str]:
    status = main(["table", "--policies", str(tmp_path), *words])
    return (status, *capsys.readouterr())


def test_a_line_for_each_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = told(capsys, tmp_path)
    head, *lines = out.splitlines()
    assert (status, len(lines)) == (Exit.DONE, len(rows()))
    assert head.split("  ")[0] == "POLICY"
    assert "sched_process_fork" in lines[0]


def test_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = told(capsys, tmp_path, "--json")
    first = json.loads(out)["table"][0]
    assert (first["policy"], first["signal"], first["mode"]) == ("fork-storm", "process.fork", "observe")
    assert first["reasons"]["before_enforcing"]


def test_as_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert told(capsys, tmp_path, "--markdown") == (Exit.DONE, page(rows()), "")


def test_one_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = told(capsys, tmp_path, "link-down")
    assert "rtnetlink" in out
    assert "**Assumes**" in out


def test_no_such_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = told(capsys, tmp_path, "link-dow")
    assert status == Exit.FAILED
    assert "link-down" in err


def test_nothing_but_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = told(capsys, tmp_path, "--no-defaults", "--json")
    assert json.loads(out) == {"table": []}
