"""writeback feels a task that must pause because its device is allowed hardly any dirty pages."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.events import Gate, Signal
from controlplane.arc.kernel.sensors import tick_ns
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import Felt
from tests.kernel.loop_device import LoopDevice, loop_device

EVERY_PAUSE = Gate(1, 0, 1, 1)
LONGEST_NS = NS // 5
"""MAX_PAUSE of mm/page-writeback.c."""


@pytest.fixture
def strict_disk() -> Iterator[LoopDevice]:
    """Its own share of dirty pages holds, even while the node has few of them; the share is nothing."""
    with loop_device() as disk:
        bdi = Path(f"/sys/class/bdi/{disk.major}:{disk.minor}")
        if not (bdi / "strict_limit").exists():
            pytest.skip("no strict_limit of a device's dirty pages here (Linux 6.2)")
        before = {name: (bdi / name).read_text() for name in ("strict_limit", "max_ratio")}
        (bdi / "strict_limit").write_text("1")
        (bdi / "max_ratio").write_text("0")
        yield disk
        for name, value in before.items():
            (bdi / name).write_text(value)


def test_pauses_are_felt_with_whoever_pauses(felt: Felt, strict_disk: LoopDevice, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("writeback.pause", EVERY_PAUSE)
    began = time.monotonic_ns()
    writer = cgroup.run("dd", "if=/dev/zero", f"of={strict_disk.path}", "bs=1M", "count=8", "status=none")
    event = felt.signal("writeback.pause", cgroup)
    assert writer.wait(30) == 0
    took = time.monotonic_ns() - began
    assert (event.pid, event.comm.rstrip(b"\0")) == (writer.pid, b"dd")
    assert tick_ns() <= event.value <= LONGEST_NS
    assert event.value % tick_ns() == 0
    felt.ring.must_drain(felt.events.append)
    pauses = [
        each.value for each in felt.events if each.signal == Signal.WRITEBACK_PAUSE and each.pid == writer.pid
    ]
    assert sum(pauses) < took
