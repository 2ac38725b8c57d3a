"""Sensors: load each object, share the common maps, attach, and account for what they saw and lost.

A sensor that cannot be loaded here is disabled with its reason; the others go on.
"""

import os
import time
from pathlib import Path
from typing import Final

from controlplane.arc.kernel.events import GATE, Counter, Gate, Signal
from controlplane.arc.kernel.libbpf import LOG, LibbpfError, Map, Object, Program, possible_cpus
from controlplane.arc.kernel.sources import Feeler
from controlplane.link.frames import SensorStatus
from controlplane.link.signals import SIGNALS

OBJECTS: Final = Path(__file__).parent / "objects"
NAMES: Final = ("cgroup", "process", "cpu", "memory", "block", "writeback", "net", "fd", "softirq")
SHARED: Final = ("events", "gates", "counts", "values", "protected_names")
RING_BYTES: Final = 1 << 20

CLOCK_MONOTONIC_COARSE: Final = 6

NUMBERS: Final[dict[str, int]] = {
    signal.name: Signal[signal.name.replace(".", "_").upper()].value for signal in SIGNALS
}
"""`process.fork` -> its number in the kernel."""


class Sensor:
    """One object of `bpf/`. `reason` says why it does not feel; empty while it does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason = ""
        self.log = ""
        self.signals = tuple(signal.name for signal in SIGNALS if signal.sensor == name)
        self._object: Object | None = None
        self._programs: list[Program] = []

    def load(self, shared: dict[str, int], ring_bytes: int) -> None:
        """Load and attach; on failure the sensor keeps the reason and nothing stays attached."""
        try:
            self._load(shared, ring_bytes)
        except LibbpfError as error:
            self.reason, self.log = error.reason, error.log
            self.close()

    def _load(self, shared: dict[str, int], ring_bytes: int) -> None:
        loading = Object(str(OBJECTS / f"{self.name}.bpf.o"))
        self._object = loading
        for name, fd in shared.items():
            loading.share(name, fd)
        if not shared:
            loading.resize("events", ring_bytes)
        loading.load()
        for name in SHARED:
            shared.setdefault(name, loading.map_fd(name))
        for program in loading.programs():
            program.attach()
            self._programs.append(program)
        LOG.clear()

    def map(self, name: str, key_size: int, value_size: int) -> Map | None:
        """One of the sensor's own maps; None while it is disabled."""
        fd = self.map_fd(name)
        return None if fd is None else Map(fd, key_size, value_size)

    def map_fd(self, name: str) -> int | None:
        """Descriptor of one of the sensor's own maps; None while it is disabled."""
        return None if self._object is None else self._object.map_fd(name)

    def lost(self) -> dict[str, int]:
        """Events lost so far, by reason."""
        return _losses(self._counters())

    def status(self) -> SensorStatus:
        """Read the counters and run times from the kernel."""
        counted = self._counters()
        times = [program.run_time() for program in self._programs]
        return SensorStatus(
            name=self.name,
            attached=not self.reason,
            reason=self.reason,
            hooks=tuple(program.name for program in self._programs),
            signals=self.signals,
            seen=counted[Counter.SEEN],
            emitted=counted[Counter.EMITTED],
            lost=_losses(counted),
            run_ns=sum(time for time, _ in times),
            runs=sum(runs for _, runs in times),
        )

    def _counters(self) -> list[int]:
        counters = self.map("counters", 4, 8 * possible_cpus())
        if counters is None:
            return [0] * Counter.COUNTERS
        found = (counters.lookup(i.to_bytes(4, "little")) or b"" for i in range(Counter.COUNTERS))
        return [sum(memoryview(values).cast("Q")) for values in found]

    def close(self) -> None:
        """Detach and unload."""
        for program in self._programs:
            program.detach()
        self._programs.clear()
        if self._object is not None:
            self._object.close()
            self._object = None


def _losses(counted: list[int]) -> dict[str, int]:
    return {
        counter.name.removeprefix("LOST_").lower(): counted[counter]
        for counter in Counter
        if counter.name.startswith("LOST_")
    }


def tick_ns() -> int:
    """Nanoseconds of a jiffy: the coarse clocks advance once in each."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)


class Sensors:
    """All sensors and the maps they share."""

    def __init__(self, ring_bytes: int = RING_BYTES) -> None:
        self._shared: dict[str, int] = {}
        self._objects = [Sensor(name) for name in NAMES]
        for sensor in self._objects:
            sensor.load(self._shared, ring_bytes)
        if not self._shared:
            raise LibbpfError(0, "; ".join(f"{sensor.name}: {sensor.reason}" for sensor in self._objects))
        self.all: list[Feeler] = [*self._objects]
        """With those that are no BPF object, from when they are added."""
        # Descriptors of our own: those in `_shared` belong to the object that was loaded first.
        self.ring_fd = os.dup(self._shared["events"])
        self._gates = Map(self._shared["gates"], 4, GATE.size)
        self._tell_jiffy()

    def _tell_jiffy(self) -> None:
        jiffy = self.sensor("writeback").map("jiffy", 4, 8)
        if jiffy is not None:
            jiffy.must_update(bytes(4), tick_ns().to_bytes(8, "little"))

    def sensor(self, name: str) -> Sensor:
        """A BPF object by name; raises KeyError."""
        for sensor in self._objects:
            if sensor.name == name:
                return sensor
        raise KeyError(name)

    def shared_map(self, name: str, key_size: int, value_size: int) -> Map:
        """`counts` or `values`."""
        return Map(self._shared[name], key_size, value_size)

    def set_gate(self, signal: str, gate: Gate) -> None:
        """What the kernel lets through for a signal from now on."""
        self._gates.must_update(NUMBERS[signal].to_bytes(4, "little"), GATE.pack(*gate))

    def close(self) -> None:
        """Detach every object."""
        for sensor in self._objects:
            sensor.close()
