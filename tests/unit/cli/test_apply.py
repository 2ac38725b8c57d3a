"""`reflexarc apply`."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Ask
from tests.unit.plane.api.test_management import POLICY
from tests.unit.plane.served import Served

OTHER = POLICY.replace(b"fork-storm", b"other")
BAD = POLICY.replace(b"process.fork", b"process.frok")
REFUSED = POLICY.replace(b"process.fork", b"cpu.runq_delay").replace(b"500/s", b"5ms")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    contents = {"good": POLICY, "other": OTHER, "bad": BAD, "refused": REFUSED}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def test_files_are_put_in_force(ask: Ask, plane: Served, files: dict[str, str]) -> None:
    said = ask("apply", files["good"], files["other"])
    assert said.out.splitlines() == [
        "fork-storm: applied (new), mode enforce",
        "other: applied (new), mode enforce",
    ]
    assert list(plane.responder.rules) == ["fork-storm", "other"]


def test_dry_run_changes_nothing(ask: Ask, plane: Served, files: dict[str, str]) -> None:
    answer = json.loads(ask("apply", "--dry-run", "--json", files["good"]).out)
    assert answer["dry_run"] is True
    assert answer["policies"][0]["effect"] == "new"
    assert plane.responder.rules == {}


def test_a_bad_file_among_good_ones_changes_nothing(ask: Ask, plane: Served, files: dict[str, str]) -> None:
    said = ask("apply", files["good"], files["bad"])
    assert said.exit == 3
    assert f"{files['bad']}:5: " in said.err
    assert plane.responder.rules == {}


def test_a_policy_the_daemon_does_not_take(ask: Ask, files: dict[str, str]) -> None:
    said = ask("apply", files["refused"])
    assert (said.exit, "no sensor for it here" in said.err) == (4, True)


def test_a_file_that_is_not_there(ask: Ask) -> None:
    said = ask("apply", "/nowhere.yaml")
    assert (said.exit, said.err) == (3, "reflexarc: /nowhere.yaml: No such file or directory\n")


def test_standard_input(ask: Ask, plane: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(POLICY)))
    assert ask("apply", "-").exit == 0
    assert list(plane.responder.rules) == ["fork-storm"]
