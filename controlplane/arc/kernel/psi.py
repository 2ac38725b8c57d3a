"""Pressure stall information: the kernel's own triggers, and never a reading on a timer.

A trigger fires when some task was stalled for more than a share of 2 s. The average over 10 s rises above a
share only in such 2 s, so it is read then, once: that is the value. Documentation/accounting/psi.rst.
"""

import errno
import os
import select
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.events import STREAM_KEY, VALUE_STREAM, Event, Signal, ValueStream
from controlplane.arc.kernel.libbpf import Map
from controlplane.arc.kernel.sources import Waiting, event_of
from controlplane.link.frames import SensorStatus
from controlplane.link.rules import Level, Pressure, Rule, Test, is_empty
from controlplane.link.scope import matches

PRESSURE: Final = "/proc/pressure"
RESOURCES: Final = {"psi.memory": "memory", "psi.cpu": "cpu", "psi.io": "io"}
NUMBERS: Final = {"memory": Signal.PSI_MEMORY, "cpu": Signal.PSI_CPU, "io": Signal.PSI_IO}
WINDOW_US: Final = 2_000_000
"""Multiples of it need no CAP_SYS_RESOURCE, since Linux 6.5 (d82caa273565)."""
WHOLE: Final = 10_000
LOWEST: Final = 100
"""Hundredths of a percent from which on tests without a level of their own are fed."""
MAX_TRIGGERS: Final = 256
"""Each is a file and some work of the kernel every 2 s while its cgroup is busy."""
GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ESTALE})

Place = tuple[int, str]
"""A cgroup's id and its path."""


class Trigger(NamedTuple):
    """One open pressure file, and the share in hundredths of a percent above which it tells."""

    fd: int
    level: int


class Psi:
    """The source of `psi.*`: of the node for rules that name no cgroup, else of the cgroups they name."""

    name = "psi"
    signals = tuple(RESOURCES)

    def __init__(
        self,
        cgroups: Cgroups,
        loop: Waiting,
        must_feel: Callable[[Event], None],
        known: Callable[[], Iterable[Place]],
        values: Map,
        close: Callable[[Sequence[int]], None],
    ) -> None:
        """`known` are the cgroups there are; of births and deaths from then on `born` and `forget` tell.

        `values` is the kernel's map of streams. `close` closes files, if it can without waiting: the kernel
        waits some ten milliseconds for each trigger that goes.
        """
        self.reason = "" if os.path.isdir(PRESSURE) else f"{PRESSURE} is missing: CONFIG_PSI is off, or psi=0"
        self._cgroups = cgroups
        self._root: Place = (cgroups.id_of("/"), "/")
        self._loop = loop
        self._must_feel = must_feel
        self._known = known
        self._values = values
        self._close = close
        self._rules: tuple[Rule, ...] = ()
        self._triggers: dict[tuple[int, str], Trigger] = {}
        self._told = 0
        self._unwatched = 0

    def follow(self, rules: Iterable[Rule]) -> None:
        """See `Source`. Triggers whose share stays the same stay open."""
        self._rules = tuple(rule for rule in rules if rule.signal in RESOURCES and rule.mode != "off")
        scoped = any(not is_empty(rule.scope) for rule in self._rules)
        wanted: dict[tuple[int, str], int] = {}
        for cgroup, path in (self._root, *(self._known() if scoped else ())):
            for resource, level in self._levels(path).items():
                wanted[cgroup, resource] = level
        self._drop([at for at, trigger in self._triggers.items() if wanted.get(at) != trigger.level])
        for at, level in wanted.items():
            self._listen(at, level)

    def born(self, cgroup: int, path: str) -> None:
        """A cgroup was made."""
        for resource, level in self._levels(path).items():
            self._listen((cgroup, resource), level)

    def forget(self, cgroup: int) -> None:
        """A cgroup is gone."""
        self._drop([at for resource in NUMBERS if (at := (cgroup, resource)) in self._triggers])

    def must_have(self, cgroup: int, signal: str) -> bool:
        """Whether there is a trigger of that cgroup's own."""
        return (cgroup, RESOURCES[signal]) in self._triggers

    def close(self) -> None:
        """See `Source`."""
        self.follow(())

    def lost(self) -> dict[str, int]:
        """Streams there was no trigger for."""
        return {"streams": self._unwatched}

    def status(self) -> SensorStatus:
        """See `Feeler`. The hooks are the resources there are triggers for."""
        return SensorStatus(
            name=self.name,
            attached=not self.reason,
            reason=self.reason,
            hooks=tuple(sorted({resource for _, resource in self._triggers})),
            signals=self.signals,
            seen=self._told,
            emitted=self._told,
            lost=self.lost(),
            run_ns=0,
            runs=0,
        )

    def _levels(self, path: str) -> dict[str, int]:
        """By resource, the lowest share that a rule asks for in a cgroup."""
        levels: dict[str, int] = {}
        for rule in self._rules:
            if matches(rule.scope, path) or (is_empty(rule.scope) and path == "/"):
                level = level_of(rule.test)
                resource = RESOURCES[rule.signal]
                levels[resource] = min(level, levels.get(resource, level))
        return {resource: level for resource, level in levels.items() if level < WHOLE}

    def _listen(self, at: tuple[int, str], level: int) -> None:
        if at in self._triggers:
            return
        if len(self._triggers) >= MAX_TRIGGERS:
            self._unwatched += 1
            return
        try:
            fd = self._open(*at)
            os.write(fd, b"some %d %d\0" % (level * WINDOW_US // WHOLE, WINDOW_US))
        except OSError as error:
            self._failed(at, error)
            return
        self._triggers[at] = Trigger(fd, level)
        self._loop.add(fd, partial(self._fired, at), select.EPOLLPRI)

    def _open(self, cgroup: int, resource: str) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        if cgroup == self._root[0]:
            return os.open(f"{PRESSURE}/{resource}", flags)
        directory = self._cgroups.must_open(cgroup)
        try:
            return os.open(f"{resource}.pressure", flags, dir_fd=directory)
        finally:
            os.close(directory)

    def _failed(self, at: tuple[int, str], error: OSError) -> None:
        if at[0] == self._root[0]:
            self.reason = f"{PRESSURE}/{at[1]}: {os.strerror(error.errno or 0)}"
        elif error.errno not in GONE:
            self._unwatched += 1

    def _fired(self, at: tuple[int, str]) -> None:
        try:
            text = os.pread(self._triggers[at].fd, 64, 0)
        except OSError:
            # The cgroup is gone, and an event from the ring will say so as well.
            self._drop([at])
            return
        self._told += 1
        cgroup, resource = at
        share = share_in(text)
        self._keep(STREAM_KEY.pack(cgroup, NUMBERS[resource], 0), share)
        self._must_feel(event_of(NUMBERS[resource], cgroup, share, time.monotonic_ns(), cgroup))

    def _keep(self, key: bytes, share: int) -> None:
        """As the kernel keeps the values of other signals."""
        found = self._values.lookup(key) or bytes(VALUE_STREAM.size)
        stream = ValueStream._make(VALUE_STREAM.unpack(found))
        histogram = memoryview(bytearray(stream.histogram)).cast("I")
        histogram[max(0, share.bit_length() - 1)] += 1
        kept = stream._replace(
            total=stream.total + 1, peak=max(stream.peak, share), last=share, histogram=histogram.tobytes()
        )
        self._values.must_update(key, VALUE_STREAM.pack(*kept))

    def _drop(self, places: Sequence[tuple[int, str]]) -> None:
        """Their streams end, too."""
        fds = [self._triggers.pop(at).fd for at in places]
        for fd, (cgroup, resource) in zip(fds, places, strict=True):
            self._loop.remove(fd)
            self._values.must_delete(STREAM_KEY.pack(cgroup, NUMBERS[resource], 0))
        self._close(fds)


def level_of(test: Test) -> int:
    """Share above which a test must be told. A mean over a minute can do without the smaller half."""
    match test:
        case Level(above):
            return above
        case Pressure(above):
            return max(LOWEST, above // 2)
        case _:
            return LOWEST


def share_in(text: bytes) -> int:
    """Hundredths of a percent of `avg10` in the first line of a pressure file."""
    return int(text.split(b" ", 2)[1].removeprefix(b"avg10=").replace(b".", b""))
