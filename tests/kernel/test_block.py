"""block feels a device of the test's own: how long requests take, whose they are, and which fail."""

import fcntl
import subprocess
import time
from collections.abc import Iterator
from typing import Final

import pytest

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.kernel.keys import device_key, label_of
from controlplane.arc.kernel.loader import BTF
from controlplane.arc.kernel.sensors import NUMBERS
from controlplane.arc.monitor.gates import CLOSED
from controlplane.compiler.installed import installed
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt
from tests.kernel.loop_device import LoopDevice, loop_device

READ: Final = 0
WRITE: Final = 1


def knows_issuers() -> bool:
    """Whether the kernel's types tell whose a request is that one of its own threads issues."""
    headers = None if BTF.exists() else installed()
    return headers is None or bool(headers.types(["blkcg_gq"]))


of_whoever_wrote = pytest.mark.skipif(
    not knows_issuers(), reason="no BTF, and struct blkcg_gq is in no header: who writes is not known"
)


@pytest.fixture
def disk() -> Iterator[LoopDevice]:
    with loop_device() as device:
        yield device


def key_of(disk: LoopDevice, operation: int) -> int:
    return device_key(disk.major, disk.minor, operation)


def signal(felt: Felt, name: str, key: int) -> Event:
    """The first event of a signal of a device and operation."""
    return felt.await_event(
        lambda event: (event.kind, event.signal, event.key) == (EventKind.SIGNAL, NUMBERS[name], key)
    )


def write(disk: LoopDevice, cgroup: TestCgroup, blocks: int = 1) -> subprocess.Popen[bytes]:
    """Past the page cache, so that the writer issues the requests itself."""
    return cgroup.run(
        *("dd", "if=/dev/zero", f"of={disk.path}", "bs=64K", f"count={blocks}", "oflag=direct", "status=none")
    )


def read(disk: LoopDevice, cgroup: TestCgroup) -> subprocess.Popen[bytes]:
    return cgroup.run(
        "dd", f"if={disk.path}", "of=/dev/null", "bs=64K", "count=1", "iflag=direct", "status=none"
    )


@of_whoever_wrote
def test_a_request_is_felt_with_its_device_operation_and_issuer(
    felt: Felt, disk: LoopDevice, cgroup: TestCgroup
) -> None:
    felt.sensors.set_gate("block.latency", EVERY_ONE)
    began = time.monotonic_ns()
    assert write(disk, cgroup).wait(10) == 0
    took = time.monotonic_ns() - began
    event = signal(felt, "block.latency", key_of(disk, WRITE))
    assert event.cgroup == cgroup.id
    assert 1000 < event.value < took
    assert label_of("device", event.key) == f"{disk.major}:{disk.minor} write"


def test_operations_are_streams_of_their_own(felt: Felt, disk: LoopDevice, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("block.latency", EVERY_ONE)
    assert read(disk, cgroup).wait(10) == 0
    event = signal(felt, "block.latency", key_of(disk, READ))
    assert event.cgroup == cgroup.id
    assert not [event for event in felt.events if event.key == key_of(disk, WRITE)]


@of_whoever_wrote
def test_a_request_that_fails_is_an_error(felt: Felt, disk: LoopDevice, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("block.error", EVERY_ONE)
    assert write(disk, cgroup).wait(10) == 0
    fcntl.fcntl(disk.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert write(disk, cgroup).wait(10) != 0
    event = signal(felt, "block.error", key_of(disk, WRITE))
    assert (event.cgroup, event.value, event.weight) == (cgroup.id, 1, 1)
    assert len([event for event in felt.events if event.key == key_of(disk, WRITE)]) == 1


def test_latency_is_taken_from_the_last_issue(felt: Felt, disk: LoopDevice, cgroup: TestCgroup) -> None:
    """A device uses its requests again: what was issued while nobody listened must not be the beginning."""
    felt.sensors.set_gate("block.latency", EVERY_ONE)
    assert write(disk, cgroup).wait(10) == 0
    felt.sensors.set_gate("block.latency", CLOSED)
    assert write(disk, cgroup, 64).wait(10) == 0
    felt.sensors.set_gate("block.latency", EVERY_ONE)
    began = time.monotonic_ns()
    assert write(disk, cgroup, 64).wait(10) == 0
    took = time.monotonic_ns() - began
    felt.await_event(lambda event: event.key == key_of(disk, WRITE) and event.time_ns > began)
    mine = [
        event.value for event in felt.events if event.key == key_of(disk, WRITE) and event.time_ns > began
    ]
    assert max(mine) < took < 10 * NS
    assert felt.sensors.sensor("block").lost()["storage"] == 0
