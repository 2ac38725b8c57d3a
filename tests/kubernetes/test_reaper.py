"""A node ends with its test, even when that was killed, and when its processes are frozen."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.conftest import TestCgroup as Cgroup
from tests.kernel.conftest import await_until, cgroup, make_cgroup, mount, watchdog
from tests.kubernetes.parts import ROOT

__all__ = ["cgroup", "make_cgroup", "mount", "watchdog"]


def reaper(cgroup: Cgroup, folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tests.kubernetes.reaper",
        str(cgroup.directory),
        str(folder),
        str(seconds),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)


@pytest.mark.parametrize("seconds", [60, 0.1], ids=["at the end of the pipe", "when time is up"])
def test_nothing_is_left(cgroup: Cgroup, tmp_path: Path, seconds: float) -> None:
    below = cgroup.directory / "kubepods"
    below.mkdir()
    folder = tmp_path / "node"
    folder.mkdir()
    process = cgroup.run("sleep", "60")
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    (cgroup.directory / "cgroup.freeze").write_text("1")
    with reaper(cgroup, folder, seconds) as ending:
        assert ending.stdin is not None
        if seconds > 1:
            ending.stdin.close()
        assert ending.wait(20) == 0
    with process:
        assert process.wait(10) == -9
    assert (cgroup.directory.exists(), folder.exists()) == (False, False)
