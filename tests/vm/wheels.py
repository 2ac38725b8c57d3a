"""`python -m tests.vm.wheels`: wheels for machines, that of this tree and a later one to upgrade to.

They differ in nothing but the version. What they are built from is copied first: setuptools takes whatever
lies in a `build` folder of the sources.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from controlplane import __version__
from tests.vm.kernels import ROOT

FOLDER: Final = ROOT / "build/wheels"
FILES: Final = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS: Final = ("bpf", "controlplane")
LATER: Final = f"{__version__}.post1"


def build() -> Path:
    """The folder that has them and nothing else."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for version in (__version__, LATER):
        with tempfile.TemporaryDirectory(prefix="reflexarc-wheel-") as folder:
            _build(Path(folder), version)
    return FOLDER


def _build(folder: Path, version: str) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "objects"))
    place = folder / "controlplane/__init__.py"
    place.write_text(place.read_text().replace(f'"{__version__}"', f'"{version}"'))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(FOLDER))
    subprocess.run([*pip, *options, str(folder)], check=True)


if __name__ == "__main__":
    build()
