"""A plane that serves, and the command line asked in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from controlplane.cli.main import main
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served


class Said(NamedTuple):
    """What a command answered."""

    exit: int
    out: str
    err: str


Ask = Callable[..., Said]


@pytest.fixture(scope="session")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def plane(loop: LoopThread, tmp_path: Path) -> Iterator[Served]:
    with served(loop, tmp_path) as plane:
        yield plane


@pytest.fixture
def ask(plane: Served, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command against the plane's socket."""

    def run(*words: str) -> Said:
        code = main([*words, "--socket", plane.target.socket])
        return Said(code, *capsys.readouterr())

    return run
