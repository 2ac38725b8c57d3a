"""`reflexarc check` on real files: what it prints, and its exit code."""

import json
import os
import shutil
from pathlib import Path

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main
from controlplane.policy.compile import DEFAULTS

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: NAME}
spec:
  signal: process.fork
  test: {kind: threshold, above: 500/s}
  ladder: [{act: observe}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(POLICY.replace("NAME", "a") + "---\n" + POLICY.replace("NAME", "b"))
    (tmp_path / "bad.yaml").write_text(POLICY.replace("NAME", "c").replace("observe", "observ"))
    (tmp_path / "reflexarc.yaml").write_text("mode: enforce\n")
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["check", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


def test_good_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / "a.yaml"), str(folder / "reflexarc.yaml")]
    assert checked(capsys, *files) == (
        Exit.DONE,
        f"{files[0]}: ok, policy a, b\n{files[1]}: ok, configuration\n",
    )


def test_a_folder_with_one_bad_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = checked(capsys, str(folder))
    assert status == Exit.BAD_POLICY
    assert out.splitlines() == [
        f"{folder}/a.yaml: ok, policy a, b",
        f"{folder}/bad.yaml:7: spec.ladder[0].act cannot be 'observ'",
        "hint: did you mean `observe`?",
        f"{folder}/reflexarc.yaml: ok, configuration",
    ]


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = checked(capsys, "--json", str(folder))
    assert status == Exit.BAD_POLICY
    assert json.loads(out) == [
        {"file": f"{folder}/a.yaml", "ok": True, "kind": "Policy", "policies": ["a", "b"]},
        {
            "file": f"{folder}/bad.yaml",
            "ok": False,
            "line": 7,
            "message": "spec.ladder[0].act cannot be 'observ'",
            "hint": "did you mean `observe`?",
        },
        {"file": f"{folder}/reflexarc.yaml", "ok": True, "kind": "Config", "policies": []},
    ]


def test_files_of_a_folder_must_fit_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").write_text(POLICY.replace("NAME", "b"))
    status, out = checked(capsys, str(folder))
    assert status == Exit.BAD_POLICY
    assert f"{folder}/bad.yaml:3: the name `b` is taken by {folder}/a.yaml:11" in out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f.yaml: is empty"),
        (b"\xff", "f.yaml:1: is not UTF-8 text"),
        (b"kind: Polices\n", "f.yaml:1: `apiVersion` is missing in the document"),
        (b"mode: enforced\n", "f.yaml:1: mode cannot be 'enforced'"),
        (b"metadata: {name: a}\n", "f.yaml:1: `apiVersion` is missing in the document"),
        (b"kind: Config\nmods: x\n", "f.yaml:2: unknown key 'mods' in the document"),
        (b"a: 1\n" * 2_000_000, "f.yaml: is larger than 1 MiB"),
    ],
    ids=lambda value: value[:16] if isinstance(value, bytes) else None,
)
def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str) -> None:
    (tmp_path / "f.yaml").write_bytes(data)
    status, out = checked(capsys, str(tmp_path / "f.yaml"))
    assert status == Exit.BAD_POLICY
    assert out.splitlines()[0] == f"{tmp_path}/{message}"


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = checked(capsys, str(tmp_path / "none.yaml"))
    assert status == Exit.BAD_POLICY
    assert out == f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n"


def test_nothing_but_comments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.yaml").write_text("# mode: enforce\n")
    assert checked(capsys, str(tmp_path / "f.yaml")) == (Exit.DONE, f"{tmp_path}/f.yaml: ok, holds nothing\n")


def test_the_default_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, str(DEFAULTS))[0] == Exit.DONE


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sensors must belong to root to be taken")
def test_signals_of_your_own_sensors_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = Path(__file__).parents[3] / "bpf/examples"
    shutil.copytree(examples / "sensors.d", tmp_path / "sensors.d")
    policy = str(examples / "policies.d/slow-fsync.yaml")
    assert main(["check", policy]) == Exit.BAD_POLICY
    assert "fs.fsync_time" in capsys.readouterr().out
    assert main(["check", "--sensors", str(tmp_path / "sensors.d"), policy]) == Exit.DONE
    (tmp_path / "sensors.d/fsync.yaml").write_text("kind: Nonsense\n")
    assert main(["check", "--sensors", str(tmp_path / "sensors.d"), policy]) == Exit.BAD_POLICY
