"""A machine of its own, in which the daemon is installed and may do as it likes.

`make unit` and `make vagrant` make one. Elsewhere these tests are skipped: the unit would be yours.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.client import Client, Target
from tests.kernel.conftest import cgroup, make_cgroup, mount
from tests.systemd.unit import POLICIES, RUNTIME, configure, install, systemctl

__all__ = ["cgroup", "make_cgroup", "mount"]

WHEELS = os.environ.get("REFLEXARC_WHEELS", "")
HERE = Path(__file__).parent
MINUTES = 15
CONFIGURATION = """
mode: enforce
self_budget: 100%
"""
"""Emulated, the same work takes ten times as much of a processor, and sensors would be shed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without wheels to install this is no machine of ours."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(MINUTES * 60))
            if not WHEELS:
                item.add_marker(pytest.mark.skip(reason="needs a machine of its own: `make unit`"))


@pytest.fixture(scope="session")
def wheels() -> list[Path]:
    """The version of this tree, and a later one."""
    first, later = sorted(Path(WHEELS).glob("reflexarc-*.whl"), key=lambda path: len(path.name))
    return [first, later]


@pytest.fixture(scope="session")
def installed(wheels: list[Path]) -> None:
    """The version of this tree; it does not run."""
    install(wheels[0])
    configure(CONFIGURATION)
    systemctl("stop")


@pytest.fixture
def client(installed: None) -> Iterator[Client]:
    """Of the unit, which is started; in the end it is stopped, and what the test has configured is gone."""
    del installed
    systemctl("start")
    with connected() as made:
        made.wait()
        yield made
    systemctl("stop")
    for path in POLICIES.iterdir():
        path.unlink()


def connected() -> Client:
    return Client(Target(socket=str(RUNTIME / "management.sock")))
