"""The sensors under each loader and each kind of ring, and what came out of them.

bcc takes seconds, so its sensors are compiled once for all tests and made as new before each.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol

import pytest

from controlplane.arc.kernel.events import (
    COUNT_STREAM,
    STREAM_KEY,
    VALUE_STREAM,
    Counter,
    Event,
    EventKind,
    Gate,
)
from controlplane.arc.kernel.libbpf import possible_cpus
from controlplane.arc.kernel.libbpf_ring import LibbpfRing
from controlplane.arc.kernel.ring import Ring
from controlplane.arc.kernel.sensors import NAMES, NUMBERS, Sensors
from controlplane.arc.kernel.watched import SLOTS
from controlplane.arc.monitor.gates import CLOSED
from controlplane.link.rules import NS
from tests.patience import patient
from tests.readable import readable

Way = Literal["core", "libbpf", "bcc", "perf"]
"""`libbpf`: CO-RE with libbpf's reader of the ring; `perf`: bcc with perf ring buffers."""
WAYS: Final[tuple[Way, ...]] = ("core", "bcc", "perf")
EVERY_ONE: Final = Gate(NS, 0, 1, 1)


class Place(Protocol):
    """A cgroup of a test's own."""

    id: int


class Felt:
    """The sensors, their ring, and what came out of it."""

    def __init__(self, sensors: Sensors, ring: Ring) -> None:
        self.sensors = sensors
        self.ring = ring
        self.events: list[Event] = []

    def await_event(self, wanted: Callable[[Event], bool], seconds: float = 10) -> Event:
        """The first event that is wanted, old or new."""
        end = time.monotonic() + patient(seconds)
        seen = 0
        while True:
            for event in self.events[seen:]:
                if wanted(event):
                    return event
            seen = len(self.events)
            left = end - time.monotonic()
            if left < 0:
                pytest.fail(f"no such event in {self.events}")
            readable(self.ring.fd, left)
            self.ring.must_drain(self.events.append)

    def signal(self, name: str, cgroup: Place, seconds: float = 10) -> Event:
        """The first event of a signal in a cgroup."""
        number = self.sensors.numbers[name]
        return self.await_event(
            lambda event: (event.kind, event.signal, event.cgroup) == (EventKind.SIGNAL, number, cgroup.id),
            seconds,
        )

    def life(self, kind: EventKind, cgroup: int, value: int = 0) -> Event:
        """The first event of a cgroup's life of that kind."""
        return self.await_event(
            lambda event: (event.kind, event.cgroup, event.value) == (kind, cgroup, value)
        )


@contextlib.contextmanager
def feeling(way: Way) -> Iterator[Felt]:
    """Sensors that nothing has passed yet; bcc's are kept for the next."""
    if way in ("bcc", "perf"):
        felt = _kept(way)
        _make_as_new(felt)
        yield Felt(felt.sensors, felt.ring)
        _make_as_new(felt)
        return
    sensors = Sensors(loader="core")
    try:
        yield Felt(sensors, LibbpfRing(sensors.ring_fd) if way == "libbpf" else sensors.open_ring())
    finally:
        sensors.close()


@functools.cache
def _kept(way: Way) -> Felt:
    sensors = Sensors(loader="bcc", perf=way == "perf")
    return Felt(sensors, sensors.open_ring())


def _make_as_new(felt: Felt) -> None:
    """Gates closed; nothing in the ring, in the streams, in the counters or on the lists."""
    sensors = felt.sensors
    for name in NUMBERS:
        sensors.set_gate(name, CLOSED)
    shapes = (("counts", COUNT_STREAM.size), ("values", VALUE_STREAM.size))
    maps = [sensors.shared_map(name, STREAM_KEY.size, size) for name, size in shapes]
    for each in (*maps, sensors.shared_map("protected_names", 16, 1)):
        for key, _ in list(each.items()):
            each.must_delete(key)
    for name in NAMES:
        counters = sensors.sensor(name).map("counters", 4, 8 * possible_cpus())
        if counters is not None:
            for number in range(Counter.COUNTERS):
                counters.must_update(number.to_bytes(4, "little"), bytes(8 * possible_cpus()))
    watched = sensors.sensor("process").map("watched", 4, 8)
    if watched is not None:
        for slot in range(SLOTS):
            watched.must_update(slot.to_bytes(4, "little"), bytes(8))
    while felt.ring.must_drain(lambda _: None):
        pass
