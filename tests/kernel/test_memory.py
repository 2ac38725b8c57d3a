"""memory feels a memory cgroup at its limit, what the OOM killer takes, and pages that are touched."""

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from controlplane.arc.kernel.events import Gate
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup, await_until
from tests.kernel.felt import EVERY_ONE, Felt
from tests.kernel.loop_device import SIZE, LoopDevice, loop_device

MIB: Final = 1024 * 1024
V1: Final = Path("/sys/fs/cgroup/memory")
PAGES: Final = 16384
TOUCH: Final = f"""
import mmap, sys
memory = mmap.mmap(-1, {PAGES * mmap.PAGESIZE}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
"""
BY_ITSELF: Final = f"for at in range(0, len(memory), {mmap.PAGESIZE}): memory[at] = 1"
BY_THE_KERNEL: Final = "open('/dev/zero', 'rb', buffering=0).readinto(memory)"


class Limit:
    """The memory controller of a test's cgroup: its own, or a version 1 cgroup beside it."""

    def __init__(self, cgroup: TestCgroup) -> None:
        self._v2 = (cgroup.directory / "memory.max").exists()
        self.directory = cgroup.directory if self._v2 else V1 / cgroup.path[1:]
        if not self._v2:
            self.directory.mkdir()

    def set(self, size: int) -> None:
        (self.directory / ("memory.max" if self._v2 else "memory.limit_in_bytes")).write_text(str(size))

    def wrapped(self, *command: str) -> tuple[str, ...]:
        """The command within the limit."""
        return ("sh", "-c", 'echo 0 > "$0"; exec "$@"', str(self.directory / "cgroup.procs"), *command)

    def remove(self) -> None:
        if not self._v2:
            await_until(self._gone, 10)

    def _gone(self) -> bool:
        try:
            self.directory.rmdir()
        except OSError:
            return False
        return True


@pytest.fixture
def limit(cgroup: TestCgroup) -> Iterator[Limit]:
    if not (cgroup.directory / "memory.max").exists() and not V1.is_dir():
        pytest.skip("no memory controller, neither in this cgroup nor at /sys/fs/cgroup/memory")
    made = Limit(cgroup)
    yield made
    cgroup.clear()
    made.remove()


@pytest.fixture
def disk() -> Iterator[LoopDevice]:
    with loop_device() as device:
        yield device


def test_reclaim_at_the_limit_is_a_stall(
    felt: Felt, cgroup: TestCgroup, limit: Limit, disk: LoopDevice
) -> None:
    """What is read is kept in the page cache, at the reader's expense."""
    limit.set(SIZE // 4)
    felt.sensors.set_gate("memory.reclaim_stall", EVERY_ONE)
    reader = cgroup.run(*limit.wrapped("dd", f"if={disk.path}", "of=/dev/null", "bs=1M", "status=none"))
    event = felt.signal("memory.reclaim_stall", cgroup)
    assert (event.pid, event.comm.rstrip(b"\0")) == (reader.pid, b"dd")
    assert 1000 < event.value < 10 * NS
    assert reader.wait(20) == 0
    assert felt.sensors.sensor("memory").lost()["storage"] == 0


def test_the_victim_of_the_oom_killer_is_named(felt: Felt, cgroup: TestCgroup, limit: Limit) -> None:
    limit.set(32 * MIB)
    felt.sensors.set_gate("memory.oom_kill", EVERY_ONE)
    hungry = cgroup.run(*limit.wrapped(sys.executable, "-c", f"b'x' * {256 * MIB}"))
    event = felt.signal("memory.oom_kill", cgroup, 20)
    assert hungry.wait(20) == -9
    assert (event.pid, event.value) == (hungry.pid, 1)
    assert event.start_ns > 0


@pytest.mark.parametrize("how", [BY_ITSELF, BY_THE_KERNEL], ids=["program", "system call"])
def test_pages_that_are_touched_are_growth(felt: Felt, cgroup: TestCgroup, how: str) -> None:
    felt.sensors.set_gate("memory.growth", Gate(20 * NS, 0, PAGES // 2, 1))
    idle = cgroup.run(sys.executable, "-c", TOUCH)
    assert idle.wait(20) == 0
    grown = cgroup.run(sys.executable, "-c", TOUCH + how)
    event = felt.signal("memory.growth", cgroup, 20)
    assert grown.wait(20) == 0
    assert event.pid == grown.pid
    assert PAGES // 2 <= event.weight < PAGES
