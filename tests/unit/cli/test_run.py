"""`reflexarc run`: every refusal comes before anything is begun, and what the arc is handed is whole."""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from controlplane.cli import run
from controlplane.cli.exits import CliError, Exit
from controlplane.cli.main import main
from controlplane.compiler.bcc import DIST_PACKAGES
from controlplane.compiler.installed import installed, package
from controlplane.link.config import Config, Tls
from controlplane.link.rules import Boot, RuleSet
from tests.certificates import Authority

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: these checks come after the one for root"
)


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    return parser.parse_args(["run", *words])


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run in place: if it were not refused, this process would become an arc."""
    status = main(["run", *words])
    return status, capsys.readouterr().err.partition("\n")[0].removeprefix("reflexarc: ")


def test_options_stand_in_for_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "reflexarc.yaml"
    file.write_text("mode: observe\nmetrics: 127.0.0.1:1\nbreaker_acts: 2\n")
    words = (
        f"--config {file} --mode enforce --metrics [::1]:0 --health localhost:2 --loader core --realtime off"
    )
    folders = "--runtime-dir /run/a --state-dir /var/b --policies /etc/c --sensors /etc/d --debug"
    assert run.configured(options(*words.split(), *folders.split())) == Config(
        mode="enforce",
        metrics="[::1]:0",
        health="localhost:2",
        loader="core",
        realtime="off",
        runtime_dir="/run/a",
        state_dir="/var/b",
        policies="/etc/c",
        sensors_dir="/etc/d",
        debug=True,
        breaker_acts=2,
    )


def test_relative_folders_are_those_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.configured(options("--runtime-dir", "r")).runtime_dir == f"{tmp_path}/r"


@pytest.mark.parametrize("option", ["--metrics", "--health"])
def test_a_bad_address_is_wrong_usage(option: str) -> None:
    with pytest.raises(CliError) as caught:
        run.configured(options(option, "9464"))
    assert caught.value.exit == Exit.USAGE
    assert option in caught.value.message


@pytest.mark.parametrize("words", [("--mode", "off"), ("--loader", "x"), ("--realtime", "on"), ("extra",)])
def test_wrong_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", *words])
    assert caught.value.code == Exit.USAGE
    assert capsys.readouterr().err.startswith("usage: ")


def test_bad_files_come_before_all_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = tmp_path / "run"
    (tmp_path / "p.yaml").write_text("kind: Policy\n")
    status, message = refused(capsys, "--policies", str(tmp_path), "--runtime-dir", str(runtime))
    assert (status, message) == (
        Exit.BAD_POLICY,
        f"{tmp_path}/p.yaml:1: `apiVersion` is missing in the document",
    )
    assert not runtime.exists()


def test_a_folder_that_is_named_must_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, message = refused(capsys, "--policies", str(tmp_path / "none"))
    assert (status, message) == (
        Exit.BAD_POLICY,
        f"{tmp_path}/none: cannot be read: No such file or directory",
    )


def test_without_root_it_is_refused() -> None:
    before = (lambda: os.setuid(65534)) if os.geteuid() == 0 else None
    command = [sys.executable, "-m", "controlplane.cli.main", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=before)
    assert done.returncode == Exit.REFUSED
    assert done.stderr == "reflexarc: must be run as root\nhint: sudo reflexarc run\n"


@needs_root
@pytest.mark.parametrize(
    ("loader", "told"),
    [
        ("core", "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing)\nhint: use --loader bcc\n"),
        ("auto", f"this kernel has no BTF, and its headers are missing\nhint: apt install {package()}\n"),
    ],
)
def test_without_btf_it_is_refused(loader: str, told: str) -> None:
    if installed():
        pytest.skip("this kernel's headers are installed, so it would start")
    command = (
        "mount -t tmpfs none /sys/kernel/btf && "
        f"exec {sys.executable} -m controlplane.cli.main run --loader {loader}"
    )
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.FAILED
    assert done.stderr == f"reflexarc: {told}"


@needs_root
def test_a_second_daemon_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "arc.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, message = refused(capsys, "--runtime-dir", str(tmp_path))
    assert (status, message) == (Exit.FAILED, f"already running, pid {os.getpid()} holds {lock}")


@needs_root
def test_an_unknown_account_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("plane_user: no-such-account\n")
    status, message = refused(capsys, "--config", str(tmp_path / "c.yaml"))
    assert (status, message) == (Exit.BAD_POLICY, "plane_user: no account named 'no-such-account'")


@needs_root
@needs_root
def test_certificates_must_be_of_use_to_the_plane(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="reflexarc-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = Authority(folder)
        file = folder / "reflexarc.yaml"

        def refusal(files: Tls) -> tuple[int, str]:
            file.write_text(
                f"metrics_tls: {{cert: {files.cert}, key: {files.key}, client_ca: {files.client_ca}}}"
            )
            return refused(capsys, "--config", str(file), "--runtime-dir", str(folder / "run"))

        good = authority.files()
        status, said = refusal(msgspec.structs.replace(good, key=authority.server().key))
        assert (status, said) == (
            Exit.BAD_POLICY,
            f"metrics_tls: {good.cert} and {said.split()[3]} cannot be used: key values mismatch",
        )
        Path(good.key).chmod(0o600)
        status, said = refusal(good)
        assert status == Exit.BAD_POLICY
        assert said.startswith(f"metrics_tls: {good.key} cannot be read by the unprivileged process")


def test_without_bcc_its_loader_is_refused() -> None:
    command = f"mount -t tmpfs none {DIST_PACKAGES} && exec {sys.executable} -m controlplane.cli.main"
    command += " run --loader bcc"
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.FAILED
    assert done.stderr == "reflexarc: bcc is not installed\nhint: apt install python3-bpfcc\n"


@needs_root
def test_why_it_is_not_core_is_told_before_bcc_is_missing() -> None:
    """As on a kernel without BTF, but with its headers: nothing but bcc could fail."""
    hide = f"mount -t tmpfs none {DIST_PACKAGES} && mount -t tmpfs none /sys/kernel/btf"
    code = "from controlplane.cli import run; run.installed = lambda: True;"
    code += "from controlplane.link.config import Config; run.check_loader(Config())"
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", f"{hide} && exec {sys.executable} -c '{code}'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing), and bcc is not installed" in done.stderr
    )


@needs_root
@pytest.mark.parametrize("loader", ["auto", "core"])
def test_without_the_right_to_use_bpf_it_is_refused(loader: str) -> None:
    dropped = "-sys_admin,-bpf,-perfmon"
    command = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}", sys.executable]
    command += ["-m", "controlplane.cli.main", "run", "--loader", loader]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.FAILED
    assert done.stderr == (
        "reflexarc: the kernel refuses a BPF ring buffer: Operation not permitted\n"
        "hint: it takes CAP_BPF and CAP_PERFMON, in a container as well, or CAP_SYS_ADMIN\n"
    )


def test_the_arc_inherits_what_it_needs(tmp_path: Path) -> None:
    """The exec is real; a shell script stands where the interpreter would."""
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\necho "$@" >&2\ncat "/proc/self/fd/$5"\n')
    stand_in.chmod(0o755)
    code = f"""if True:
        import sys
        from controlplane.cli.run import become_arc
        from controlplane.link.config import Config
        from controlplane.link.rules import Boot, RuleSet
        sys.executable = {str(stand_in)!r}
        become_arc(Boot(config=Config(mode="enforce"), rules=RuleSet()))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr.decode().startswith("-P -m controlplane.arc --boot-fd ")
    assert msgspec.msgpack.decode(done.stdout, type=Boot) == Boot(
        config=Config(mode="enforce"), rules=RuleSet()
    )


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "is not of the form http(s)://host:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "'http/json' is none of grpc, http/protobuf"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.setenv(variable, value)
    config = tmp_path / "reflexarc.yaml"
    config.write_text("default_policies: true\n")
    folder = tmp_path / "empty"
    folder.mkdir()
    words = ("--config", str(config), "--policies", str(folder), "--sensors", str(folder))
    status, said = refused(capsys, *words)
    assert (status, told in said) == (Exit.BAD_POLICY, True)
