"""`reflexarc doctor`: an answer everywhere, honest where it was not allowed to look."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.cli.exits import Exit
from controlplane.compiler.installed import package

NOBODY = 65534
EXAMPLES = Path(__file__).parents[3] / "bpf/examples/sensors.d"


def doctor(*words: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controlplane.cli.main", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=before)


def test_the_exit_code_is_whether_all_that_is_needed_is_there() -> None:
    done = doctor("--json")
    lines = json.loads(done.stdout)
    lacking = [line["name"] for line in lines if line["needed"] and line["state"] != "ok"]
    assert done.stderr == ""
    assert done.returncode == (Exit.FAILED if lacking else Exit.DONE)
    assert len({line["name"] for line in lines}) == len(lines) > 20
    assert all(line["found"] and line["meaning"] for line in lines)
    assert {line["state"] for line in lines} <= {"ok", "limited", "missing"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sensors are loaded, and must belong to root")
def test_each_sensor_is_tried_your_own_as_well(tmp_path: Path) -> None:
    for file in (EXAMPLES / "fsync.yaml", EXAMPLES / "fsync.bpf.c"):
        shutil.copy(file, tmp_path)
    (tmp_path / "bad.yaml").write_text((tmp_path / "fsync.yaml").read_text().replace("fsync", "bad"))
    (tmp_path / "bad.bpf.c").write_text('#include "dialect.h"\nnonsense\n')
    done = doctor("--json", "--sensors", str(tmp_path))
    lines = {line["name"]: line for line in json.loads(done.stdout)}
    assert lines["sensor cpu"]["state"] == lines["sensor fsync"]["state"] == "ok"
    assert "fs.fsync_time" in lines["sensor fsync"]["meaning"]
    assert lines["sensor bad"]["state"] == "missing"
    assert lines["sensor bad"]["found"].startswith("bad.bpf.c:2: ")
    assert done.returncode == Exit.DONE


def test_for_people_it_ends_with_a_verdict() -> None:
    done = doctor()
    verdict = done.stdout.splitlines()[-1]
    assert verdict.startswith("ready: " if done.returncode == Exit.DONE else "not ready: ")


def test_without_privileges_it_says_what_it_could_not_try() -> None:
    before = (lambda: os.setuid(NOBODY)) if os.geteuid() == 0 else None
    done = doctor("--json", before=before)
    states = {line["name"]: line["state"] for line in json.loads(done.stdout)}
    assert done.returncode == Exit.FAILED
    assert states["ringbuf"] == "limited"
    assert states["CAP_BPF"] == states["CAP_KILL"] == "missing"
    assert states["kernel"] == "ok"


def without_btf(also: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and lines, with other commands run first in the same namespace of mounts."""
    command = (
        f"mount -t tmpfs none /sys/kernel/btf && mount -t tmpfs none /usr/src && {also} "
        f"exec {sys.executable} -m controlplane.cli.main doctor --json"
    )
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    return done.returncode, {line["name"]: line for line in json.loads(done.stdout)}


in_a_namespace = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts in a namespace of its own")
no_links = pytest.mark.skipif(Path("/lib/modules").exists(), reason="headers may be linked from /lib/modules")


@in_a_namespace
@no_links
def test_a_kernel_without_btf_and_headers_is_not_ready() -> None:
    code, lines = without_btf("")
    assert code == Exit.FAILED
    assert lines["types"]["state"] == lines["tp_btf"]["state"] == "missing"
    assert lines["types"]["found"].endswith(f"apt install {package()}")


@in_a_namespace
@no_links
def test_headers_stand_in_for_btf(tmp_path: Path) -> None:
    folder = Path("/usr/src", package())
    for file in ("generated/autoconf.h", "linux/kconfig.h"):
        (tmp_path / "include" / file).parent.mkdir(parents=True)
        (tmp_path / "include" / file).touch()
    _, lines = without_btf(f"ln -s {tmp_path} {folder} &&")
    assert lines["types"]["state"] == "ok"
    assert str(folder) in lines["types"]["found"]
