"""What a daemon that has stopped leaves open in its process: nothing."""

import gc
from collections.abc import Iterator
from pathlib import Path

from controlplane.arc.daemon import Arc
from controlplane.link.rules import Boot, RuleSet
from tests.kernel.conftest import config_for


def begin_and_end(folder: Path) -> None:
    arc = Arc(Boot(config_for(folder), RuleSet()))
    arc.arm()
    arc.stop()


def open_files() -> Iterator[str]:
    gc.collect()
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink():
            yield str(link.readlink())


def test_nothing_stays_open(tmp_path: Path) -> None:
    begin_and_end(tmp_path)
    before = sorted(open_files())
    begin_and_end(tmp_path)
    assert sorted(open_files()) == before
