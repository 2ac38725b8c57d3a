"""A plane that lives as long as the tests of one file."""

from collections.abc import Iterator

import pytest

from tests.plane.world import World, serving
from tests.unit.plane.loop import LoopThread


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def world(loop: LoopThread) -> Iterator[World]:
    with loop.entered(lambda: serving(loop)) as world:
        yield world
