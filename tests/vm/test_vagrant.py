"""Of Vagrant machines what can be found out without one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from controlplane import __version__
from tests.vm.kernels import ROOT
from tests.vm.wheels import LATER

SCRIPTS = sorted(
    path
    for folder in ("vagrant", "tests/systemd", "tests/vm", "deploy/systemd")
    for path in (ROOT / folder).iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_of_their_language(script: Path) -> None:
    shell = "bash" if script.read_text().startswith("#!/bin/bash") else "sh"
    subprocess.run([shell, "-n", script], check=True)


def test_the_wheel_to_upgrade_to_is_of_a_later_version() -> None:
    assert Version(LATER) > Version(__version__)


@pytest.mark.skipif(
    shutil.which("vagrant") is None, reason="vagrant is not installed; `make vagrant` brings it"
)
@pytest.mark.parametrize("box", ["", "local"])
def test_vagrant_understands_its_file(tmp_path: Path, box: str) -> None:
    made = ROOT / "build/vagrant"
    if box and not (made / "key").exists():
        pytest.skip("no box was built here: `vagrant/build-box` does that")
    folders = {"VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path / "state")}
    environment = os.environ | folders | ({"REFLEXARC_BOX": box} if box else {})
    (ROOT / "build/wheels").mkdir(parents=True, exist_ok=True)
    command = ["vagrant", "validate", "--ignore-provider"]
    done = subprocess.run(
        command, cwd=ROOT / "vagrant", env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
