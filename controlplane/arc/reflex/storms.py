"""Storms of findings: a stream tells one a cooldown, and once it is calm how often it has fired since.

The next finding tells the same, where there is one. One deadline a stream and policy, in the agenda.
"""

import time
from typing import Final

from controlplane.arc.monitor.streams import Place
from controlplane.arc.reflex.agenda import OVER, Agenda
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.telling import Reflex, must_repeats
from controlplane.link.records import Repeated
from controlplane.link.rules import NS, Rule

SETTLE_NS: Final = 5 * NS
"""After the cooldown: a storm that goes on has begun another reflex by then. Pressure is told every 2 s."""

MAX_COOLING: Final = 4096
"""Streams of which the last finding is remembered; the rest of a storm beyond is told with the next one."""

Key = tuple[int, int, str]


class Storms:
    """Streams that fire while they cool down, until they are calm."""

    def __init__(self, journal: Journal, agenda: Agenda) -> None:
        self._journal = journal
        self._agenda = agenda
        self._last: dict[Key, Reflex] = {}
        """Of each stream and policy, the one told longest ago first."""
        self._waiting: set[Key] = set()
        """Those that have fired since: each has its deadline."""

    def must_follow(self, reflex: Reflex) -> None:
        """Its finding was told."""
        key = must_key(reflex.place, reflex.rule)
        if key not in self._waiting:
            self._last.pop(key, None)
            if len(self._last) >= MAX_COOLING:
                oldest = next(iter(self._last))
                if oldest in self._waiting:
                    return
                del self._last[oldest]
        self._last[key] = reflex

    def must_begin(self, place: Place, rule: Rule) -> None:
        """It has fired for the first time since its finding was told."""
        key = must_key(place, rule)
        reflex = self._last.get(key)
        if reflex is not None and key not in self._waiting:
            self._waiting.add(key)
            self._agenda.must_add(reflex.test.quiet_until_ns + SETTLE_NS, OVER, reflex)

    def look(self, reflex: Reflex, now_ns: int) -> None:
        """The storm may be over: if it is, tell it, else look again when the last reflex has cooled down."""
        key = must_key(reflex.place, reflex.rule)
        last = self._last[key]
        over_ns = last.test.quiet_until_ns + SETTLE_NS
        if over_ns > now_ns:
            self._agenda.must_add(over_ns, OVER, last)
        else:
            self._waiting.remove(key)
            self._tell(self._last.pop(key), now_ns)

    def tell_all(self) -> None:
        """No other finding will come."""
        for reflex in self._last.values():
            self._tell(reflex, time.monotonic_ns())

    def _tell(self, reflex: Reflex, now_ns: int) -> None:
        place = reflex.place
        if repeats := must_repeats(place, reflex.rule):
            self._journal.must_append(
                Repeated(
                    time_ns=now_ns,
                    trace_id=reflex.trace_id,
                    trace_flags=reflex.trace_flags,
                    span_id=reflex.root,
                    rule=reflex.rule.name,
                    signal=reflex.rule.signal,
                    cgroup=place.cgroup,
                    path=place.path if place.cgroup else "",
                    stream="" if place.cgroup else place.path,
                    repeats=repeats,
                    lasted_ns=max(0, reflex.test.fired_ns - reflex.event_ns),
                )
            )


def must_key(place: Place, rule: Rule) -> Key:
    """Of a stream under a policy."""
    return place.signal, place.key, rule.name
