"""Fixtures every test of the plane may use."""

from collections.abc import Iterator

import pytest

from tests.unit.plane.loop import LoopThread


@pytest.fixture(scope="session")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()
