"""From a record of the ring to whoever it concerns: the monitor, the engine, the life cycle of cgroups."""

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.kernel.sensors import NUMBERS
from controlplane.arc.monitor.streams import Monitor, Place
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.guards import Protection


class Feeling:
    """Takes every record; the first thing the hot path does with one."""

    def __init__(self, cgroups: Cgroups, monitor: Monitor, engine: Engine, protection: Protection) -> None:
        self._cgroups = cgroups
        self._monitor = monitor
        self._engine = engine
        self._protection = protection
        self._events = [0] * (max(NUMBERS.values()) + 1)

    def must_feel(self, event: Event) -> None:
        """One record from the ring."""
        kind = event.kind
        if kind == EventKind.SIGNAL:
            self._events[event.signal] += event.weight
            place = self._monitor.places.get(event.cgroup) or self.name(event.cgroup)
            if place is not None:
                self._monitor.must_feel(place, event, self._engine.must_begin)
        elif kind == EventKind.EXIT:
            self._engine.must_confirm(kind, event.pid, event.start_ns, event.time_ns)
        elif kind in (EventKind.FROZEN, EventKind.POPULATED):
            self._engine.must_confirm(kind, event.cgroup, event.value, event.time_ns)
        elif kind == EventKind.CGROUP_NEW:
            self.name(event.cgroup)
        elif kind == EventKind.CGROUP_GONE:
            self._monitor.forget(event.cgroup)
            self._protection.forget(event.cgroup)
            self._engine.forget(event.cgroup)
        elif kind == EventKind.PROTECTED:
            path = self._cgroups.path_of(event.cgroup)
            self._protection.add(event.pid, event.start_ns, path)

    def name(self, cgroup: int) -> Place | None:
        """Begin to follow a cgroup; None when it is gone, or so new that it cannot be opened yet."""
        path = self._cgroups.path_of(cgroup)
        if path is None:
            return None
        place = self._monitor.name(cgroup, path)
        self._engine.prepare(place)
        return place

    def felt(self) -> dict[str, int]:
        """Kernel events so far, by signal."""
        return {name: self._events[number] for name, number in NUMBERS.items()}
