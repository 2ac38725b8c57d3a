"""A plane that serves, and a client of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.client import Client
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served


@pytest.fixture
def plane(loop: LoopThread, tmp_path: Path) -> Iterator[Served]:
    with served(loop, tmp_path) as plane:
        yield plane


@pytest.fixture
def client(plane: Served) -> Iterator[Client]:
    with Client(plane.target) as client:
        yield client
