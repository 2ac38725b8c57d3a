"""Which processes have ended, as the kernel keeps it where pidfds do not tell them apart."""

import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.arc.kernel.identity import SLOTS, ByIdentity, pidfds_tell
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.kernel.sensors import Sensor
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in
from tests.kernel.felt import EVERY_ONE, Felt

LEADERLESS = """\
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
"""
"""Its first thread ends (exit, not exit_group), and another goes on."""


@pytest.fixture
def sensor(felt: Felt) -> Sensor:
    if pidfds_tell():
        pytest.skip("each process has a pidfd inode of its own here (Linux 6.9)")
    felt.sensors.set_gate("process.fork", EVERY_ONE)
    return felt.sensors.sensor("process")


def latest_start(sensor: Sensor, pid: int) -> int:
    """Of those in the slot of that pid that have ended."""
    ended = sensor.map("ended", 4, 8)
    assert ended is not None
    found = ended.lookup((pid % SLOTS).to_bytes(4, "little"))
    assert found is not None
    return int.from_bytes(found, "little")


def test_who_has_ended_is_in_the_table(felt: Felt, sensor: Sensor, cgroup: TestCgroup) -> None:
    process = cgroup.run(*FORKER)
    fork_in(process, 1)
    child = felt.signal("process.fork", cgroup)
    assert child.start_ns > 0
    await_until(lambda: latest_start(sensor, child.pid) == child.start_ns, 10)
    fd = sensor.map_fd("ended")
    with pytest.raises(ProcessLookupError):
        ByIdentity(fd).must_open(child.pid, child.start_ns, 0)


def test_who_goes_on_without_its_first_thread_has_not_ended(sensor: Sensor) -> None:
    with subprocess.Popen([sys.executable, "-c", LEADERLESS]) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        await_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 10)
        ticks = must_start_ticks(process.pid)
        assert latest_start(sensor, process.pid) // TICK_NS != ticks
        process.kill()
        process.wait()
        assert latest_start(sensor, process.pid) // TICK_NS == ticks
