"""Sensors: each loaded, sharing the common maps, and held to account for what it saw and lost.

A sensor that cannot be loaded here is disabled with its reason; the others go on.
"""

import mmap
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from controlplane.arc.kernel.bets import Bets
from controlplane.arc.kernel.events import GATE, Counter, Gate, Signal
from controlplane.arc.kernel.libbpf import LibbpfError, Map, possible_cpus
from controlplane.arc.kernel.loader import (
    Compiler,
    CoreObject,
    HeldDescriptors,
    Loaded,
    choose,
    compiled,
    core_lack,
    has_ring_buffer,
    object_of,
    sources_of,
)
from controlplane.arc.kernel.perf_ring import PerfRing
from controlplane.arc.kernel.ring import Ring, open_ring
from controlplane.arc.kernel.sources import Feeler
from controlplane.link.compiling import Answer, Request, Source
from controlplane.link.frames import SensorStatus
from controlplane.link.signals import SIGNALS
from controlplane.link.user_sensors import UserSensor

NEEDED: Final = frozenset({"cgroup", "process"})
"""Attached whatever the rules say: they confirm acts, and tell of cgroups and protected programs."""
NAMES: Final = ("cgroup", "process", "cpu", "memory", "fault", "block", "writeback", "net", "fd", "softirq")
RING_BYTES: Final = 1 << 20
GATE_BETS: Final = 4
"""Of bpf/events.h."""

CLOCK_MONOTONIC_COARSE: Final = 6
SHUT: Final = Gate(0, 0, 0, 0)

NUMBERS: Final[dict[str, int]] = {
    signal.name: Signal[signal.name.replace(".", "_").upper()].value for signal in SIGNALS
}
"""`process.fork` -> its number in the kernel."""


class Sensor:
    """One source of `bpf/`, or a user's. `reason` says why it does not feel; empty while it does."""

    def __init__(self, name: str, signals: tuple[str, ...]) -> None:
        self.name = name
        self.reason = ""
        self.log = ""
        """All that compiler, libbpf and verifier said of it when it could not be loaded."""
        self.signals = signals
        self._loaded: Loaded | None = None
        self._last_loss: memoryview | None = None

    def load(self, path: str, shared: dict[str, int], ring_bytes: int) -> None:
        """Load and attach an object; on failure the sensor keeps the reason and nothing stays attached."""
        try:
            self._take(CoreObject(path, shared, ring_bytes), shared)
        except LibbpfError as error:
            self.reason, self.log = error.reason, error.log

    def take(self, answer: Answer, fds: Sequence[int], shared: dict[str, int], ring_bytes: int) -> None:
        """Take what a compiler made of it."""
        self.reason, self.log = answer.reason, answer.log
        if answer.reason:
            return
        if answer.compiler == "clang":
            self.load(f"/proc/self/fd/{fds[0]}", shared, ring_bytes)
            os.close(fds[0])
        else:
            self._take(HeldDescriptors(answer, fds), shared)

    def _take(self, loaded: Loaded, shared: dict[str, int]) -> None:
        self._loaded = loaded
        word = mmap.mmap(loaded.map_fd("last_loss"), 8, mmap.MAP_SHARED, mmap.PROT_READ)
        self._last_loss = memoryview(word).cast("Q")
        for name in loaded.shares:
            if name not in shared:
                # One of their own: a sensor may be closed before the others.
                shared[name] = os.dup(loaded.map_fd(name))

    def map(self, name: str, key_size: int, value_size: int) -> Map | None:
        """One of the sensor's own maps; None while it is disabled."""
        fd = self.map_fd(name)
        return None if fd is None else Map(fd, key_size, value_size)

    def map_fd(self, name: str) -> int | None:
        """Descriptor of one of the sensor's own maps; None while it is disabled."""
        return None if self._loaded is None else self._loaded.map_fd(name)

    def must_last_loss(self) -> int:
        """When an event of it was last lost, in monotonic nanoseconds; 0 when none was."""
        return 0 if self._last_loss is None else int(self._last_loss[0])

    def rest(self, *, resting: bool) -> None:
        """Detach while no rule asks for its signals: a hook costs time even if its program does nothing."""
        if self._loaded is None:
            return
        try:
            self._loaded.rest(resting=resting)
        except LibbpfError as error:
            self.reason, self.log = error.reason, error.log
            self.close()

    def lost(self) -> dict[str, int]:
        """Events lost so far, by reason."""
        return _losses(self._counters())

    def status(self) -> SensorStatus:
        """Read the counters and run times from the kernel."""
        counted = self._counters()
        programs = () if self._loaded is None else self._loaded.programs
        times = [program.run_time() for program in programs]
        return SensorStatus(
            name=self.name,
            attached=not self.reason,
            reason=self.reason,
            hooks=tuple(program.name for program in programs),
            signals=self.signals,
            seen=counted[Counter.SEEN],
            emitted=counted[Counter.EMITTED],
            lost=_losses(counted),
            run_ns=sum(time for time, _ in times),
            runs=sum(runs for _, runs in times),
        )

    def run_ns(self) -> int:
        """How long its programs ran so far; 0 unless kernel.bpf_stats_enabled."""
        return sum(program.run_time()[0] for program in (self._loaded.programs if self._loaded else ()))

    def _counters(self) -> list[int]:
        counters = self.map("counters", 4, 8 * possible_cpus())
        if counters is None:
            return [0] * Counter.COUNTERS
        found = (counters.lookup(i.to_bytes(4, "little")) or b"" for i in range(Counter.COUNTERS))
        return [sum(memoryview(values).cast("Q")) for values in found]

    def close(self) -> None:
        """Detach and unload."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = self._last_loss = None


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

    def __init__(
        self,
        ring_bytes: int = RING_BYTES,
        *,
        loader: Literal["auto", "core", "bcc"] = "auto",
        perf: bool = False,
        own: Sequence[UserSensor] = (),
    ) -> None:
        """`perf`: take perf ring buffers where the BPF ring buffer would do; `own`: the user's sensors."""
        self.loader = choose(loader)
        self._perf = self.loader == "bcc" and (perf or not has_ring_buffer())
        self._ring_bytes = ring_bytes
        self._shared: dict[str, int] = {}
        self.signals = (*SIGNALS, *(signal for sensor in own for signal in sensor.signals))
        self.numbers = NUMBERS | {name: number for sensor in own for name, number in sensor.numbers.items()}
        """Of every signal, by name."""
        self._objects = [
            *(Sensor(name, self._signals_of(name)) for name in NAMES),
            *(Sensor(sensor.name, self._signals_of(sensor.name)) for sensor in own),
        ]
        self._by_signal = {name: sensor for sensor in self._objects for name in sensor.signals}
        self.unfelt: set[str] = set()
        """Signals of sensors that are shed."""
        self._wanted: dict[str, Gate] = {}
        self._load_all(own)
        if not self._shared:
            lack = core_lack() if loader == "auto" else None
            why = f"{lack.reason}, and bcc failed: " if lack else ""
            said = "; ".join(f"{sensor.name}: {sensor.reason}" for sensor in self._objects)
            raise OSError(f"{why}{said}")
        self.all: list[Feeler] = [*self._objects]
        """With those that are no BPF object, from when they are added."""
        self.ring_fd = self._shared["events"]
        self._gates = Map(self._shared["gates"], 4, GATE.size)
        self.bets = Bets(self._shared["odds"], self._shared["bets"], Map(self._shared["free_slots"], 0, 4))
        self._tell_jiffy()

    def _signals_of(self, name: str) -> tuple[str, ...]:
        return tuple(signal.name for signal in self.signals if signal.sensor == name)

    def _load_all(self, own: Sequence[UserSensor]) -> None:
        """The compiler starts while the objects are loaded."""
        sources = tuple(sensor.source(self.loader) for sensor in own)
        if self.loader == "bcc":
            self._compile((*sources_of(NAMES), *sources), Compiler())
            return
        compiler = Compiler() if sources else None
        for name in NAMES:
            self.sensor(name).load(object_of(name), self._shared, self._ring_bytes)
        if compiler is not None:
            self._compile(sources, compiler)

    def _compile(self, sources: tuple[Source, ...], compiler: Compiler) -> None:
        request = Request(sources=sources, perf=self._perf, ring_bytes=self._ring_bytes)
        for answer, fds in compiled(request, self._shared, compiler):
            self.sensor(answer.name).take(answer, fds, self._shared, self._ring_bytes)

    def open_ring(self) -> Ring:
        """A reader of what the sensors tell, of the kind they tell it in."""
        if self._perf:
            return PerfRing(self.ring_fd, self._ring_bytes)
        return open_ring(self.ring_fd, self._ring_bytes)

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

    def must_last_loss(self, signal: str) -> int:
        """When an event of a signal's sensor was last lost; 0: none was, or it takes no room in the ring."""
        sensor = self._by_signal.get(signal)
        return sensor.must_last_loss() if sensor is not None else 0

    def logs(self) -> Iterator[tuple[str, str]]:
        """All that was said of each sensor that is disabled."""
        return ((sensor.name, sensor.log) for sensor in self._objects if sensor.log)

    def shared(self) -> Mapping[str, int]:
        """Descriptors of the maps that all sensors have in common."""
        return self._shared

    def shared_map(self, name: str, key_size: int, value_size: int) -> Map:
        """`counts` or `values`."""
        return Map(self._shared[name], key_size, value_size)

    def set_gates(self, gates: Mapping[str, Gate]) -> None:
        """What the kernel lets through from now on; sensors of which nothing is wanted rest."""
        if any(gate.open & GATE_BETS for gate in gates.values()):
            self.bets.open()
        self._wanted = dict(gates)
        for signal, gate in gates.items():
            self.set_gate(signal, SHUT if signal in self.unfelt else gate)
        for sensor in self._objects:
            self._rest(sensor)

    def _rest(self, sensor: Sensor) -> None:
        if sensor.name not in NEEDED:
            felt = (signal for signal in sensor.signals if signal not in self.unfelt)
            sensor.rest(resting=not any(self._wanted[signal].open for signal in felt))

    def shed(self, sensor: Sensor, reason: str) -> None:
        """Feel nothing by a sensor until `restore`, whatever rules want."""
        sensor.reason = reason
        self.unfelt |= set(sensor.signals)
        self._set_again(sensor)

    def restore(self, sensor: Sensor) -> None:
        """Feel by it again what rules want."""
        sensor.reason = ""
        self.unfelt -= set(sensor.signals)
        self._set_again(sensor)

    def _set_again(self, sensor: Sensor) -> None:
        for signal in sensor.signals:
            self.set_gate(signal, SHUT if signal in self.unfelt else self._wanted[signal])
        self._rest(sensor)

    @property
    def own(self) -> Sequence[Sensor]:
        """Those that are BPF objects, and feel."""
        return [sensor for sensor in self._objects if not sensor.reason]

    def set_gate(self, signal: str, gate: Gate) -> None:
        """What the kernel lets through for one signal."""
        self._gates.must_update(self.numbers[signal].to_bytes(4, "little"), GATE.pack(*gate))

    def close(self) -> None:
        """Detach every object."""
        for sensor in self._objects:
            sensor.close()
        self.bets.close()
        for fd in self._shared.values():
            os.close(fd)
        self._shared.clear()
