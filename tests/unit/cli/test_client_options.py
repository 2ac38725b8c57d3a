"""What a shell is told when the daemon does not do what it was asked."""

from pathlib import Path

import pytest

from controlplane.cli.main import main
from controlplane.plane import arc as arc_module
from tests.unit.cli.conftest import Ask
from tests.unit.plane.served import Served


def test_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", str(tmp_path / "none")]) == 5
    said = capsys.readouterr().err
    assert said.startswith(
        f"reflexarc: cannot reach the daemon at {tmp_path}/none: No such file or directory\n"
    )
    assert "hint: " in said


def test_a_daemon_whose_arc_does_not_answer(ask: Ask, plane: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arc_module, "TIMEOUT_S", 0.01)
    plane.responder.silent = True
    said = ask("status")
    assert (said.exit, "does not answer" in said.err) == (5, True)


def test_tls_needs_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--address", "127.0.0.1:1"]) == 2
    assert "--ca, --cert and --key" in capsys.readouterr().err
    files = [f"--{name}={tmp_path}/{name}" for name in ("ca", "cert", "key")]
    assert main(["status", "--address", "127.0.0.1:1", *files]) == 2
    assert f"{tmp_path}/ca: No such file" in capsys.readouterr().err
