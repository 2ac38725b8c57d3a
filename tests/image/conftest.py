"""The image under test, and cgroups for it to act in."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kernel.conftest import cgroup, make_cgroup, mount, watchdog

__all__ = ["cgroup", "make_cgroup", "mount", "watchdog"]

IMAGE = "localhost/reflexarc:core"
BUILT = Path(__file__).resolve().parents[2] / "build/image"


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the image, as it was built last."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed: make image")
    exists = subprocess.run(["podman", "image", "exists", IMAGE], check=False).returncode == 0
    if not exists or not list(BUILT.glob("reflexarc-core-*.json")):
        pytest.skip("the image is not built from these sources: make image")
    return IMAGE


@pytest.fixture(scope="session")
def sizes(image: str) -> dict[str, int]:
    """Bytes of its archive, plain and compressed."""
    (described,) = BUILT.glob("reflexarc-core-*.json")
    told = json.loads(described.read_text())
    assert told.pop("image") == image
    sizes: dict[str, int] = told
    return sizes
