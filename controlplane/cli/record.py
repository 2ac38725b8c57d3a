"""`reflexarc record`: every event of one signal as a line of JSON, for `reflexarc replay`.

A process of its own with sensors, maps and a ring of its own: a daemon beside it feels and decides as before.
Bounded in size and, if wanted, in time; what the ring could not hold is said at the end.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TextIO, TypeVar

from controlplane.arc.kernel.cgroups import Cgroups, find_mount
from controlplane.arc.kernel.descriptors import Timer, open_signals
from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, VALUE_STREAM, Event, EventKind, Gate
from controlplane.arc.kernel.keys import label_of
from controlplane.arc.kernel.libbpf import LibbpfError
from controlplane.arc.kernel.links import Links
from controlplane.arc.kernel.psi import LOWEST, Psi
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.kernel.sources import Source
from controlplane.arc.loop import Loop
from controlplane.arc.monitor.gates import CLOSED, EACH, OPEN
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.link.rules import Level, Rule, Scope
from controlplane.link.scope import matches
from controlplane.link.signals import Signal, known_with
from controlplane.policy import units
from controlplane.policy.errors import UnitError, suggest
from controlplane.policy.sensors import DEFAULT_FOLDER, user_sensors

T = TypeVar("T")

EVERY_ONE: Final = Gate(window_ns=1, level=0, batch=1, open=OPEN | EACH)
"""Values of zero are not above any level, and so not told."""
RING_BYTES: Final = 16 << 20
MAX_KEYS: Final = 65536


def add_parser(subparsers: Subparsers) -> None:
    """Options of `record`."""
    parser = subparsers.add_parser("record", help="write what is felt to a file, for replay")
    parser.add_argument("--signal", required=True, metavar="NAME", help="process.fork, cpu.runq_delay ...")
    parser.add_argument("--out", required=True, metavar="FILE", help="- is standard output")
    parser.add_argument(
        "--for", dest="span_ns", type=_written(units.duration_ns), default=0, metavar="TIME", help="as 10m"
    )
    parser.add_argument(
        "--max-bytes", type=_written(units.size_bytes), default=100 << 20, metavar="SIZE", help="as 100MB"
    )
    parser.add_argument("--cgroup", action="append", default=[], metavar="GLOB", help="only of these")
    parser.add_argument("--sensors", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="your own")
    parser.add_argument("--loader", choices=("auto", "core", "bcc"), default="auto")
    parser.add_argument("--json", action="store_true", help="what became of it as JSON")


def _written(read: Callable[[object], T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            return read(text)
        except UnitError as error:
            raise argparse.ArgumentTypeError(f"{error}; {error.hint}") from None

    return parse


def run(args: argparse.Namespace) -> int:
    """Record until the time is up, the file is full, or a signal says stop."""
    own = user_sensors(args.sensors)
    known = known_with(each for sensor in own for each in sensor.signals)
    if args.signal not in known:
        raise CliError(f"unknown signal `{args.signal}`", suggest(args.signal, known), Exit.USAGE)
    if os.geteuid() != 0:
        raise CliError("to feel the kernel takes root", "sudo reflexarc record ...")
    stop = open_signals((signal.SIGINT, signal.SIGTERM))
    with ExitStack() as stack:
        try:
            sensors = Sensors(RING_BYTES, loader=args.loader, own=own)
        except LibbpfError as error:
            raise CliError(f"no sensor can be loaded: {error.reason}", "reflexarc doctor") from None
        stack.callback(sensors.close)
        recorder = Recorder(sensors, known[args.signal], stack.enter_context(_opened(args.out)), args.cgroup)
        recorder.max_bytes = args.max_bytes
        recorder.record(args.span_ns, stop, lambda: _say(f"recording {args.signal}; ^C ends it"))
        recorder.out.flush()
        _say(recorder.summary(as_json=args.json))
    return Exit.DONE


def _say(text: str) -> None:
    """Where it is not taken for part of the recording."""
    print(text, file=sys.stderr, flush=True)


def _opened(path: str) -> TextIO:
    try:
        # A duplicate, so that closing it leaves standard output open.
        return open(os.dup(1) if path == "-" else path, "w", encoding="utf-8")  # noqa: PTH123
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from None


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


class Recorder:
    """The events of one signal, from the kernel to lines of a file."""

    def __init__(self, sensors: Sensors, felt: Signal, out: TextIO, globs: Sequence[str] = ()) -> None:
        mount = find_mount()
        if mount is None:
            raise CliError("no cgroup2 hierarchy is mounted")
        self.out = out
        self.max_bytes = 0
        """0: as many as there is room for."""
        self.taken = self.bytes = 0
        self._sensors, self._signal, self._scope = sensors, felt, Scope(cgroups=tuple(globs))
        self._number = sensors.numbers[felt.name]
        self._cgroups = Cgroups(mount)
        self._tails: dict[int, str | None] = {}
        """By key, what a line says of its stream; None: it is not wanted."""
        self._ring = sensors.open_ring()
        self.loop = Loop(self._ring, self.must_feel, lambda _: None)
        self._source = self._other_source()

    def _other_source(self) -> Source | None:
        """Of signals that no BPF object feels."""
        match self._signal.sensor:
            case "psi":
                values = self._sensors.shared_map("values", STREAM_KEY.size, VALUE_STREAM.size)
                known = self._cgroups.walk
                return Psi(self._cgroups, self.loop, self.must_feel, known, values, _close)
            case "link":
                counts = self._sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
                return Links(self.loop, self, counts)
            case _:
                return None

    def record(self, span_ns: int, stop: int, began: Callable[[], None]) -> None:
        """For so long, 0: without end, or until `stop` is readable. `began`: every event is told now."""
        timer = Timer()
        for fd in (stop, timer.fd):
            self.loop.add(fd, self._stop)
        timer.must_arm(time.monotonic_ns() + span_ns if span_ns else 0)
        self.open_gate()
        began()
        try:
            self.loop.run()
        finally:
            self.close_gate()

    def _stop(self) -> None:
        self.loop.stopping = True

    def open_gate(self) -> None:
        """From here on every event is told."""
        self._sensors.set_gates(dict.fromkeys(self._sensors.numbers, CLOSED) | {self._signal.name: EVERY_ONE})
        if self._source is None:
            self._refuse(self._sensors.sensor(self._signal.sensor).reason)
        else:
            test = Level(LOWEST)
            self._source.follow([Rule(name="record", signal=self._signal.name, scope=self._scope, test=test)])
            self._refuse(self._source.reason)

    def _refuse(self, reason: str) -> None:
        if reason:
            raise CliError(f"{self._signal.name} is not felt: {reason}", "reflexarc doctor")

    def close_gate(self) -> None:
        """No more; what the ring still has is taken."""
        self._sensors.set_gates(dict.fromkeys(self._sensors.numbers, CLOSED))
        if self._source is not None:
            self._source.close()
        while self._ring.must_drain(self.must_feel):
            pass

    def must_feel(self, event: Event) -> None:
        """One record of the ring, or of a descriptor."""
        if event.kind == EventKind.CGROUP_NEW:
            self._tail_of_cgroup(event.cgroup)
        elif event.kind == EventKind.SIGNAL and event.signal == self._number and not self._full():
            tail = self._tail(event.key)
            if tail is not None:
                self._write(event, tail)

    def _write(self, event: Event, tail: str) -> None:
        line = f'{{"time_ns": {event.time_ns}, "value": {event.value}, "weight": {event.weight}, {tail}\n'
        self.bytes += len(line.encode())
        self.taken += 1
        self.out.write(line)
        if self._full():
            self._stop()

    def _full(self) -> bool:
        return 0 < self.max_bytes <= self.bytes

    def _tail(self, key: int) -> str | None:
        if key in self._tails:
            return self._tails[key]
        if self._signal.key == "cgroup":
            return self._tail_of_cgroup(key)
        self.name_key(self._number, key, label_of(self._signal.key, key))
        return self._tails[key]

    def _tail_of_cgroup(self, cgroup: int) -> str | None:
        path = self._cgroups.path_of(cgroup) or f"/(gone)/{cgroup}"
        wanted = not self._scope.cgroups or matches(self._scope, path)
        self._remember(cgroup, self._tail_with(path) if wanted else None)
        return self._tails[cgroup]

    def _tail_with(self, label: str) -> str:
        return f'"signal": "{self._signal.name}", "key": {json.dumps(label)}}}'

    def _remember(self, key: int, tail: str | None) -> None:
        """The one known longest makes room."""
        if len(self._tails) >= MAX_KEYS:
            del self._tails[next(iter(self._tails))]
        self._tails[key] = tail

    def name_key(self, _signal: int, key: int, label: str) -> None:
        """See `Taking`."""
        self._remember(key, self._tail_with(label))

    def forget_key(self, _signal: int, key: int) -> None:
        """See `Taking`."""
        self._tails.pop(key, None)

    def lost(self) -> dict[str, int]:
        """Events that were not recorded, by reason."""
        source = self._source or self._sensors.sensor(self._signal.sensor)
        return {reason: count for reason, count in source.lost().items() if count}

    def summary(self, *, as_json: bool) -> str:
        """How much there is, and what is missing."""
        told = {"signal": self._signal.name, "events": self.taken, "bytes": self.bytes, "lost": self.lost()}
        if as_json:
            return json.dumps(told)
        lost = ", ".join(f"{count:,} for want of {reason}" for reason, count in self.lost().items())
        full = "; the file is full" if self._full() else ""
        return f"{self.taken:,} events in {self.bytes:,} bytes, lost: {lost or 'none'}{full}"
