"""The root of machines with systemd: Debian, libraries of the daemon and of its tests, a login for Vagrant.

One recipe for what `tests.vm --init systemd` boots and for the local Vagrant box. The daemon itself is not in
it: it is installed there, as a user would. vagrant/customise.sh is the part that runs inside.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from tests.vm.kernels import ROOT

SUITE: Final = "bookworm"
FOLDER: Final = ROOT / "build/root"
CUSTOMISE: Final = ROOT / "vagrant/customise.sh"
PACKAGES: Final = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "nftables"),
    *("python3", "python3-venv", "libbpf1", "ca-certificates"),
    *("openssh-server", "sudo", "rsync"),
)
"""systemd and what a machine needs; what the daemon needs; what Vagrant needs."""
TESTING: Final = ("pytest", "hypothesis")
"""Beginnings of those requirements that tests in a machine have of all that are for development."""


def made() -> Path:
    """Its folder. It is made when the recipe or the declared libraries have changed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    libraries = _libraries(project)
    recipe = Path(__file__).read_bytes() + CUSTOMISE.read_bytes() + json.dumps(libraries).encode()
    target = FOLDER / hashlib.sha256(recipe).hexdigest()[:16]
    if not target.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            Path(folder).chmod(0o755)
            new = Path(folder, "root")
            _make(new, _wheels(libraries, Path(folder, "wheels")))
            new.rename(target)
    return target


def _libraries(project: dict[str, Any]) -> list[str]:
    extras = project["optional-dependencies"]
    testing = [each for each in extras["dev"] if each.startswith(TESTING)]
    return [*project["dependencies"], *extras["cli"], *testing]


def _wheels(libraries: list[str], folder: Path) -> Path:
    """With all that they need in turn: there may be no network inside."""
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check")
    subprocess.run([*pip, "--wheel-dir", str(folder), *libraries], check=True)
    return folder


def _make(target: Path, wheels: Path) -> None:
    command = ("mmdebstrap", "-q", "--variant=minbase", f"--include={','.join(PACKAGES)}")
    environment = {**os.environ, "WHEELS": str(wheels)}
    subprocess.run(
        [*command, f"--customize-hook={CUSTOMISE}", SUITE, str(target)], env=environment, check=True
    )
