"""From a record of the ring to whoever it concerns: the monitor, the engine, the life cycle of cgroups."""

from collections.abc import Callable
from typing import Final

from controlplane.arc.kernel import events
from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.events import Event
from controlplane.arc.kernel.keys import label_of
from controlplane.arc.kernel.sources import Follower
from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.streams import Monitor, Place, must_place_number
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.telling import must_text
from controlplane.link.signals import BY_NAME, Known, Signal

# A member of an enum is found slower than a constant.
SIGNAL: Final = int(events.EventKind.SIGNAL)
EXIT: Final = int(events.EventKind.EXIT)
FROZEN: Final = int(events.EventKind.FROZEN)
POPULATED: Final = int(events.EventKind.POPULATED)
CGROUP_NEW: Final = int(events.EventKind.CGROUP_NEW)
CGROUP_GONE: Final = int(events.EventKind.CGROUP_GONE)
PROTECTED: Final = int(events.EventKind.PROTECTED)
BET: Final = int(events.EventKind.BET)
SUMMARY: Final = int(events.EventKind.SUMMARY)
ACTED: Final = int(events.EventKind.ACTED)


class Feeling:
    """Takes every record; the first thing the hot path does with one."""

    def __init__(
        self,
        cgroups: Cgroups,
        monitor: Monitor,
        engine: Engine,
        protection: Protection,
        bookmaker: Bookmaker,
        known: Known = BY_NAME,
    ) -> None:
        self._cgroups = cgroups
        self._monitor = monitor
        self._engine = engine
        self._protection = protection
        self._bookmaker = bookmaker
        monitor.must_storm = engine.storms.must_begin
        self.followers: list[Follower] = []
        self.acted: Callable[[Event, Place], None] = lambda _event, _place: None
        """Is told what the kernel did by itself."""
        self.protected: Callable[[Event, str | None], None] = lambda _event, _path: None
        """Is told of a process that must never be a victim, and of its cgroup."""
        self._events = [0] * events.Signal.SIGNALS
        self.records = [0] * events.Signal.SIGNALS
        """Records so far, each of which may stand for many events, by number of the signal."""
        self._others: dict[int, Signal] = {
            monitor.numbers[signal.name]: signal for signal in known.values() if signal.key != "cgroup"
        }

    def must_feel(self, event: Event) -> None:
        """One record from the ring."""
        kind = event.kind
        if kind == SIGNAL:
            self._events[event.signal] += event.weight
            self.records[event.signal] += 1
            place = self._must_place(event)
            if place is not None:
                self._monitor.must_feel(place, event, self._engine.must_begin)
        elif kind in (BET, SUMMARY):
            self.records[event.signal] += 1
            self._must_feel_bets(event)
        elif kind == EXIT:
            self._engine.must_confirm(kind, event.pid, event.start_ns, event.time_ns)
        elif kind in (FROZEN, POPULATED):
            self._engine.must_confirm(kind, event.cgroup, event.value, event.time_ns)
        else:
            self._must_feel_life(kind, event)

    def _must_feel_life(self, kind: int, event: Event) -> None:
        if kind == CGROUP_NEW:
            self.name(event.cgroup)
        elif kind == CGROUP_GONE:
            self._monitor.forget(event.cgroup)
            self._protection.forget(event.cgroup)
            self._engine.forget(event.cgroup)
            self._bookmaker.forget(event.cgroup)
            for follower in self.followers:
                follower.forget(event.cgroup)
        elif kind == PROTECTED:
            path = self._cgroups.path_of(event.cgroup)
            self._protection.add(event.pid, event.start_ns, must_text(event.comm), path)
            self.protected(event, path)
        elif kind == ACTED:
            self._events[event.signal] += 1
            self.acted(event, self._must_place(event) or Place(event.cgroup, ""))

    def _must_feel_bets(self, event: Event) -> None:
        place = self._must_place(event)
        if place is None:
            return
        if event.kind == BET:
            self._monitor.must_feel_bet(place, event, self._engine.must_begin)
            self._bookmaker.note(event)
        elif self._bookmaker.summarise(event, self._monitor.bets(place, event.signal)):
            self._monitor.adapted(place, event.signal)

    def _must_place(self, event: Event) -> Place | None:
        number = event.signal
        at = event.key if number not in self._others else must_place_number(number, event.key)
        return self._monitor.places.get(at) or self.name_stream(event)

    def name_stream(self, event: Event) -> Place | None:
        """The place of a stream that is felt for the first time; None when it is gone already."""
        other = self._others.get(event.signal)
        if other is None:
            return self.name(event.key)
        return self._monitor.name_other(event.signal, event.key, label_of(other.key, event.key))

    def name_key(self, signal: int, key: int, label: str) -> None:
        """See `Taking`."""
        if must_place_number(signal, key) not in self._monitor.places:
            self._monitor.name_other(signal, key, label)

    def forget_key(self, signal: int, key: int) -> None:
        """See `Taking`."""
        self._monitor.forget(must_place_number(signal, key))

    def name(self, cgroup: int) -> Place | None:
        """Begin to follow a cgroup; None when it is gone, or so new that it cannot be opened yet."""
        path = self._cgroups.path_of(cgroup)
        if path is None:
            return None
        place = self._monitor.name(cgroup, path)
        self._protection.born(cgroup, path)
        self._engine.prepare(place)
        for follower in self.followers:
            follower.born(cgroup, path)
        return place

    def felt(self) -> dict[str, int]:
        """Kernel events so far, by signal."""
        return {name: self._events[number] for name, number in self._monitor.numbers.items()}
