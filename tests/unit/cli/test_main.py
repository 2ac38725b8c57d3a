"""The entry point: exit codes, messages without a traceback, and what is imported for which command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane import __version__
from controlplane.cli.exits import CliError, Exit
from controlplane.cli.main import COMMANDS, main


def reflexarc(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controlplane.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_version() -> None:
    done = reflexarc("--version")
    assert (done.returncode, done.stdout) == (0, f"reflexarc {__version__}\n")


def test_help_lists_every_command() -> None:
    done = reflexarc("--help")
    assert done.returncode == Exit.DONE
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("check",), ("check", "--nonsense", "x"), ("--nonsense", "run")]
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    done = reflexarc(*words)
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("usage: reflexarc")


def test_an_error_is_a_message_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--management", "127.0.0.1:9466"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("reflexarc: --management: has an address and no cert")
    assert "\nhint: " in err


def test_a_bad_file_is_a_message_and_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(tmp_path / "none.yaml")]) == Exit.BAD_POLICY
    assert (
        capsys.readouterr().err
        == f"reflexarc: {tmp_path / 'none.yaml'}: cannot be read: No such file or directory\n"
    )


def test_a_reader_that_left_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        command = [sys.executable, "-m", "controlplane.cli.main", "check", "/nonexistent"]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (Exit.FAILED, b"")


def test_a_command_imports_only_itself() -> None:
    code = """if True:
        import json, sys
        from controlplane.cli.main import main
        main(["check", "/nonexistent"])
        print(json.dumps(sorted(sys.modules)), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    ours = {name for name in loaded if name.startswith("controlplane.cli.")}
    assert ours == {"controlplane.cli.main", "controlplane.cli.exits", "controlplane.cli.check"}
    assert loaded.isdisjoint({"grpc", "rich", "asyncio", "opentelemetry", "google.protobuf", "ctypes"})


def test_exit_codes_are_those_scripts_rely_on() -> None:
    assert [(code.name, code.value) for code in Exit] == [
        ("DONE", 0),
        ("FAILED", 1),
        ("USAGE", 2),
        ("BAD_POLICY", 3),
        ("REFUSED", 4),
        ("UNREACHABLE", 5),
    ]


def test_an_error_fails_unless_it_says_otherwise() -> None:
    assert CliError("x").exit == Exit.FAILED
    assert str(CliError("x")) == "x"
