"""Debian packages that a benchmark compares with: downloaded and unpacked, never installed or started."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.testbed import ROOT, CannotMeasureError

FOLDER: Final = ROOT / ".kernels/peers"
"""What is unpacked, as it would lie below /. Emulated machines see it, too."""


def unpack(packages: Sequence[str]) -> None:
    """All of them, unless they are there; raises CannotMeasureError for what the machine's apt has not."""
    if FOLDER.exists():
        return
    with TemporaryDirectory(prefix="reflexarc-bench-") as name:
        done = subprocess.run(
            ("apt-get", "-qq", "download", *packages), cwd=name, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotMeasureError(f"packages cannot be had: {done.stderr.strip()}")
        new = FOLDER.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        for package in Path(name).glob("*.deb"):
            subprocess.run(("dpkg-deb", "-x", package, new), check=True)
        new.replace(FOLDER)
