"""The API as buf sees it: in good style, and such that clients of yesterday go on working."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROTOS = ROOT / "protos"
BUF = Path(sys.executable).with_name("buf")


def buf(*arguments: str | Path) -> str:
    """What it finds, a line each; empty when nothing."""
    done = subprocess.run([BUF, *arguments], cwd=PROTOS, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 100}, done.stderr
    return done.stdout


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The protos of the last release or, before the first one, of the commit before this."""
    released = git("describe", "--tags", "--abbrev=0", "--match", "v*").decode().strip()
    archive = git("archive", released or "HEAD^", "protos")
    if not archive:
        pytest.skip("no history here: a shallow clone, or none")
    subprocess.run(["tar", "--extract", "--directory", tmp_path], input=archive, check=True)
    return tmp_path / "protos"


def test_style_and_comments() -> None:
    assert buf("lint") == ""


def test_nothing_breaks_clients_of_before(before: Path) -> None:
    assert buf("breaking", "--against", before) == ""


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("  string version = 1;", "  int64 version = 1;", "changed type"),
        ("  // Version of the daemon.\n  string version = 1;\n", "", "was deleted"),
        ("rpc ListSensors", "rpc Sensors", "was deleted"),
        ("MODE_OBSERVE = 2", "MODE_OBSERVE = 9", "deleted"),
    ],
)
def test_a_break_is_found(tmp_path: Path, written: str, instead: str, said: str) -> None:
    changed = shutil.copytree(PROTOS, tmp_path / "protos")
    file = changed / "reflexarc/v1/management.proto"
    assert written in file.read_text()
    file.write_text(file.read_text().replace(written, instead))
    assert said in buf("breaking", changed, "--against", PROTOS)
