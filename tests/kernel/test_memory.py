"""memory feels a memory cgroup at its limit, what the OOM killer takes, growth, and page faults."""

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
HALF: Final = Gate(20 * NS, 0, PAGES // 2, 1)
TAKE: Final = f"""
import mmap, os, signal, sys

def take(pages, advice=mmap.MADV_NOHUGEPAGE, more=0):
    memory = mmap.mmap(-1, pages * {mmap.PAGESIZE}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | more)
    memory.madvise(advice)
    return memory

def touch(memory):
    for at in range(0, len(memory), {mmap.PAGESIZE}):
        memory[at] = 1
    return memory
"""
BY_ITSELF: Final = f"touch(take({PAGES}))"
BY_THE_KERNEL: Final = f"open('/dev/zero', 'rb', buffering=0).readinto(take({PAGES}))"
GROWING: Final = {
    "small pages": BY_ITSELF,
    "huge pages": f"touch(take({PAGES}, mmap.MADV_HUGEPAGE))",
    "system call": BY_THE_KERNEL,
    "all at once": f"take({PAGES}, more=mmap.MAP_POPULATE)",
}
STEADY: Final = {
    "gives back": f"for _ in range(16): touch(take({PAGES // 8})).close()",
    "children that end": f"""
for _ in range(16):
    child = os.fork()
    if child == 0:
        touch(take({PAGES // 8}))
        os._exit(0)
    os.waitpid(child, 0)
""",
    "children that inherit": f"""
kept = touch(take({PAGES // 8}))
children = []
for _ in range(16):
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        touch(take({PAGES // 128}))
        os.write(told, b'.')
        signal.pause()
    os.read(ready, 1)
    children.append(child)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
""",
    "files": f"open(sys.executable, 'rb').read({PAGES // 64 * mmap.PAGESIZE})",
    "shared": f"touch(mmap.mmap(-1, {PAGES * mmap.PAGESIZE}))",
}


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
def test_pages_that_are_touched_are_faults(felt: Felt, cgroup: TestCgroup, how: str) -> None:
    felt.sensors.set_gate("memory.fault", HALF)
    idle = cgroup.run(sys.executable, "-c", TAKE)
    assert idle.wait(20) == 0
    busy = cgroup.run(sys.executable, "-c", TAKE + how)
    event = felt.signal("memory.fault", cgroup, 20)
    assert busy.wait(20) == 0
    assert event.pid == busy.pid
    assert PAGES // 2 <= event.weight < PAGES


@pytest.mark.parametrize("how", GROWING.values(), ids=GROWING.keys())
def test_memory_that_a_program_takes_is_growth(felt: Felt, cgroup: TestCgroup, how: str) -> None:
    felt.sensors.set_gate("memory.growth", HALF)
    grown = cgroup.run(sys.executable, "-c", TAKE + how)
    event = felt.signal("memory.growth", cgroup, 20)
    assert grown.wait(20) == 0
    assert event.pid == grown.pid
    assert PAGES // 2 <= event.weight <= PAGES


@pytest.mark.parametrize("how", STEADY.values(), ids=STEADY.keys())
def test_what_is_given_back_or_nobodys_own_is_no_growth(felt: Felt, cgroup: TestCgroup, how: str) -> None:
    felt.sensors.set_gate("memory.growth", HALF)
    steady = cgroup.run(sys.executable, "-c", TAKE + how)
    assert steady.wait(20) == 0
    grown = cgroup.run(sys.executable, "-c", TAKE + BY_ITSELF)
    assert felt.signal("memory.growth", cgroup, 20).pid == grown.pid
    assert grown.wait(20) == 0
