"""writeback feels a task that must pause because its device is allowed hardly any dirty pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.events import Gate, Signal
from controlplane.arc.kernel.sensors import tick_ns
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt
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


def test_a_pause_is_felt_with_whoever_pauses(felt: Felt, strict_disk: LoopDevice, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("writeback.pause", EVERY_ONE)
    writer = cgroup.run("dd", "if=/dev/zero", f"of={strict_disk.path}", "bs=1M", "count=8", "status=none")
    event = felt.signal("writeback.pause", cgroup)
    assert writer.wait(30) == 0
    assert (event.pid, event.comm.rstrip(b"\0")) == (writer.pid, b"dd")
    assert tick_ns() <= event.value <= LONGEST_NS
    assert event.value % tick_ns() == 0


def test_pauses_add_up_to_the_time_a_writer_takes(
    felt: Felt, strict_disk: LoopDevice, cgroup: TestCgroup
) -> None:
    felt.sensors.set_gate("writeback.pause", EVERY_PAUSE)
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    command = f"dd if=/dev/zero of={strict_disk.path} bs=1M count=8 status=none; false"
    cgroup.run("sh", "-c", command).wait(30)
    end = felt.signal("process.exit_failure", cgroup).time_ns
    mine = [event for event in felt.events if event.cgroup == cgroup.id]
    begin = max(event.time_ns for event in mine if event.signal == Signal.PROCESS_EXEC)
    pauses = [event.value for event in mine if event.signal == Signal.WRITEBACK_PAUSE]
    assert 0 < sum(pauses) < end - begin
