"""Perf ring buffers: all arrives in the order of time, and what does not is counted."""

import time
from collections.abc import Callable, Iterator

import pytest

from controlplane.arc.kernel.events import Event, EventKind, Gate
from controlplane.arc.kernel.libbpf import possible_cpus
from controlplane.arc.kernel.perf_ring import MIN_PAGES, PerfRing
from controlplane.arc.kernel.sensors import RING_BYTES, Sensors
from controlplane.arc.monitor.gates import CLOSED
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt, feeling
from tests.patience import patient

EACH: Gate = Gate(0, 0, 1, 1)
"""Every event a record: each is a round of its own."""


@pytest.fixture
def felt() -> Iterator[Felt]:
    with feeling("perf") as felt:
        yield felt


def forks(cgroup: TestCgroup, times: int) -> None:
    """On all CPUs."""
    cgroup.run("sh", "-c", f"for i in $(seq {times}); do (:); done").wait(patient(30))


def test_it_wakes_whoever_waits(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    cgroup.run("true")
    event = felt.signal("process.exec", cgroup)
    assert 0 < time.monotonic_ns() - event.time_ns < patient(10) * NS


def test_what_several_cpus_told_comes_in_the_order_of_time(
    felt: Felt, make_cgroup: Callable[[], TestCgroup]
) -> None:
    felt.sensors.set_gate("process.fork", EACH)
    for cpu in range(2):
        cgroup = make_cgroup()
        cgroup.run("taskset", "-c", str(cpu), "sh", "-c", "for i in $(seq 50); do (:); done").wait(
            patient(30)
        )
    felt.sensors.set_gate("process.fork", CLOSED)
    felt.events.clear()
    while felt.ring.must_drain(felt.events.append):
        pass
    told = [event for event in felt.events if event.kind == EventKind.SIGNAL]
    assert {0, 1} <= {event.cpu for event in told}
    times = [event.time_ns for event in felt.events]
    assert times == sorted(times)


def test_a_loss_is_counted_by_the_sensor_and_by_the_ring(cgroup: TestCgroup) -> None:
    sensors = Sensors(MIN_PAGES * 4096, loader="bcc", perf=True)
    try:
        ring = sensors.open_ring()
        assert isinstance(ring, PerfRing)
        sensors.set_gate("process.fork", EACH)
        forks(cgroup, 500 * possible_cpus())
        sensors.set_gate("process.fork", CLOSED)
        taken: list[Event] = []
        while ring.must_drain(taken.append):
            pass
        # A ring tells of a loss with the next record for which it has room.
        inner = [cgroup.directory / f"inner-{cpu}" for cpu in range(possible_cpus())]
        for cpu, directory in enumerate(inner):
            cgroup.run("taskset", "-c", str(cpu), "mkdir", str(directory)).wait(patient(10))
            directory.rmdir()
        lost = sum(sensor.lost()["ring"] for sensor in sensors.all)
        ring.must_drain(taken.append)
        # What the kernel refuses for any other reason than a full ring, the sensor alone has counted.
        assert 0 < ring.lost <= lost
        ring.close()
    finally:
        sensors.close()


def test_the_ring_is_no_larger_than_asked(felt: Felt) -> None:
    assert isinstance(felt.ring, PerfRing)
    assert RING_BYTES // possible_cpus() // 4096 >= MIN_PAGES
