"""Reclaim of a cgroup's memory on the running kernel, for which cgroup2 must have the controller."""

from collections.abc import Callable, Iterator

import pytest

from controlplane.link.amounts import Amount, Way
from controlplane.link.records import Effect, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.loop_device import LoopDevice, loop_device
from tests.kernel.test_limits import needs

Turn = Callable[..., Turned]
MIB = 1 << 20
CACHED = 32 * MIB


def reclaiming(number: int, way: Way = "") -> Step:
    return Step("reclaim", amounts=(Amount("amount", number, way),))


@pytest.fixture
def disk() -> Iterator[LoopDevice]:
    """What is read of it can be reclaimed; files may lie in memory, as in the VM, and then they cannot."""
    with loop_device() as device:
        yield device


def cache(cgroup: TestCgroup, disk: LoopDevice) -> None:
    """Charged to whoever reads first, for as long as the device is open."""
    assert cgroup.run("dd", f"if={disk.path}", "of=/dev/null", "bs=1M", "count=32").wait() == 0


def test_memory_is_reclaimed_and_what_came_of_it_told(
    turn: Turn, controlled: TestCgroup, disk: LoopDevice
) -> None:
    needs(controlled, "memory.reclaim")
    cache(controlled, disk)
    before = int(controlled.read("memory.current"))
    assert before > CACHED
    turned = turn(fork_rule(controlled, reclaiming(5000, "share"), cooldown_ns=60 * NS))
    fork_in(controlled.run(*FORKER), 5)
    outcome = turned.await_record(Outcome)
    assert (outcome.act, outcome.ok, outcome.error) == ("reclaim", True, "")
    first, last = (int(word) for word in outcome.detail.split(",")[0].split()[1::2])
    assert first - last > CACHED // 4
    assert [effect.act for effect in turned.of(Effect)] == ["reclaim"]
    assert turned.of(Intent)[0].changes == ()
    turned.stop()
    assert not turned.of(Undo)


def test_more_than_there_is_to_reclaim_is_no_failure(
    turn: Turn, controlled: TestCgroup, disk: LoopDevice
) -> None:
    needs(controlled, "memory.reclaim")
    cache(controlled, disk)
    turned = turn(fork_rule(controlled, reclaiming(1 << 40)))
    fork_in(controlled.run(*FORKER), 5)
    outcome = turned.await_record(Outcome, 20)
    assert (outcome.ok, int(controlled.read("memory.current")) < CACHED // 2) == (True, True)


def test_without_the_controller_it_is_refused_and_told(turn: Turn, cgroup: TestCgroup) -> None:
    if (cgroup.directory / "memory.reclaim").exists():
        pytest.skip("every cgroup has it here")
    turned = turn(fork_rule(cgroup, reclaiming(MIB)))
    fork_in(cgroup.run(*FORKER), 5)
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, "memory.reclaim" in refused.detail) == ("absent", True)
    assert not turned.of(Outcome)
