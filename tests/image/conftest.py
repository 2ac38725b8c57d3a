"""The images under test, as far as they were built, and cgroups for them to act in."""

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.kernel.conftest import cgroup, make_cgroup, mount, watchdog

__all__ = ["cgroup", "make_cgroup", "mount", "watchdog"]

BUILT: Final = Path(__file__).resolve().parents[2] / "build/image"
HOW: Final = {"core": "", "bcc": " VARIANT=bcc"}
"""Images, and what `make image` is told to build them."""


class Image:
    """One of them: its name in the store, its archive, its sizes."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = f"localhost/reflexarc:{kind}"
        self.archive = BUILT / f"reflexarc-{kind}-{platform.machine()}.tar"

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of its archive, plain and compressed."""
        told = json.loads(self.archive.with_suffix(".json").read_text())
        assert told.pop("image") == self.name
        sizes: dict[str, int] = told
        return sizes


def built(kind: str) -> Image:
    """As it was built last; without it, the test is skipped."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed: make image")
    found = Image(kind)
    exists = subprocess.run(["podman", "image", "exists", found.name], check=False).returncode == 0
    if not exists or not found.archive.with_suffix(".json").exists():
        pytest.skip(f"the image is not built from these sources: make image{HOW[kind]}")
    return found


@pytest.fixture(scope="session", params=HOW)
def image(request: pytest.FixtureRequest) -> Image:
    """Each of them."""
    return built(str(request.param))


@pytest.fixture(scope="session")
def bcc_image() -> Image:
    """The one that compiles sensors."""
    return built("bcc")
