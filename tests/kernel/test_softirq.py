"""softirq feels how long a handler ran, by CPU: here those of packets on loopback."""

import os
from collections.abc import Iterator
from socket import AF_INET, SOCK_DGRAM, socket

import pytest

from controlplane.arc.kernel.events import STREAM_KEY, VALUE_STREAM, Gate, Signal, ValueStream
from controlplane.link.rules import NS
from tests.kernel.felt import Felt

CPU = 0


@pytest.fixture
def felt(felt: Felt) -> Felt:
    felt.sensors.set_gate("softirq.time", Gate(NS // 10, 0, 0, 1))
    return felt


@pytest.fixture
def on_one_cpu() -> Iterator[None]:
    """A packet on loopback is taken in by the softirq of the CPU that sent it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPU})
    yield
    os.sched_setaffinity(0, before)


def send(packets: int) -> None:
    with socket(AF_INET, SOCK_DGRAM) as receiving, socket(AF_INET, SOCK_DGRAM) as sending:
        receiving.bind(("127.0.0.1", 0))
        for _ in range(packets):
            sending.sendto(b"!", receiving.getsockname())


@pytest.mark.usefixtures("on_one_cpu")
def test_a_run_is_timed_on_its_cpu(felt: Felt) -> None:
    send(200)
    event = felt.await_event(lambda event: (event.signal, event.key) == (Signal.SOFTIRQ_TIME, CPU))
    assert event.cpu == CPU
    assert 0 < event.value < NS
    assert (event.cgroup, event.pid, event.culprit) == (0, 0, 0)


@pytest.mark.usefixtures("on_one_cpu")
def test_every_run_is_aggregated_in_the_kernel(felt: Felt) -> None:
    values = felt.sensors.shared_map("values", STREAM_KEY.size, VALUE_STREAM.size)
    send(1000)
    found = values.lookup(STREAM_KEY.pack(CPU, Signal.SOFTIRQ_TIME, 0))
    assert found is not None
    stream = ValueStream._make(VALUE_STREAM.unpack(found))
    assert stream.total >= 1000
    assert sum(memoryview(stream.histogram).cast("I")) >= 1000
    assert 0 < stream.last <= stream.peak
    assert felt.sensors.sensor("softirq").status().emitted < 200


def test_a_closed_gate_times_nothing(felt: Felt) -> None:
    felt.sensors.set_gate("softirq.time", Gate(0, 0, 0, 0))
    before = felt.sensors.sensor("softirq").status().seen
    send(100)
    assert felt.sensors.sensor("softirq").status().seen == before
