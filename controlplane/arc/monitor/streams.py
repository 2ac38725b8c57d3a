"""Streams: which rules look at which cgroup, with the state of their tests.

Pure: is told of cgroups and given records; reads no clock and opens nothing. Bounded in cgroups and
in processes per rule.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.tests import Test, make_test
from controlplane.link.rules import Rule, is_empty
from controlplane.link.scope import matches

MAX_PLACES: Final = 16384
MAX_PROCESSES: Final = 4096
"""Processes one rule with `per: process` follows in one cgroup; the oldest go first."""


class Probe:
    """One rule looking at one cgroup."""

    __slots__ = ("_per_process", "_test", "_tests", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._per_process = rule.per == "process"
        self._test = make_test(rule.test)
        self._tests: dict[tuple[int, int], Test] = {}

    def must_test_for(self, event: Event) -> Test:
        """The test of the event's stream."""
        if not self._per_process:
            return self._test
        key = (event.pid, event.start_ns)
        test = self._tests.get(key)
        if test is None:
            if len(self._tests) >= MAX_PROCESSES:
                del self._tests[next(iter(self._tests))]
            test = self._tests[key] = make_test(self.rule.test)
        return test


class Place:
    """One cgroup: its path and the probes on it, by signal number."""

    __slots__ = ("cgroup", "path", "probes")

    def __init__(self, cgroup: int, path: str, probes: dict[int, tuple[Probe, ...]]) -> None:
        self.cgroup = cgroup
        self.path = path
        self.probes = probes

    def rules(self) -> Iterator[Rule]:
        """All rules that look at it."""
        return (probe.rule for probes in self.probes.values() for probe in probes)


Fired = Callable[[Place, Place | None, Rule, Test, Event], None]
"""Takes (victim's place, culprit's where the signal names one, rule, test, event)."""


class Monitor:
    """All streams under the rules in force."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers
        self._rules: tuple[Rule, ...] = ()
        self.places: dict[int, Place] = {}

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Put rules in force. The tests of those that did not change keep their state."""
        self._rules = tuple(rule for rule in rules if rule.mode != "off")
        for place in self.places.values():
            kept = {probe.rule: probe for probes in place.probes.values() for probe in probes}
            place.probes = self._probes(place.path, kept)

    def name(self, cgroup: int, path: str) -> Place:
        """Begin to follow a cgroup. Beyond the bound the one known longest is forgotten."""
        if len(self.places) >= MAX_PLACES:
            del self.places[next(iter(self.places))]
        place = self.places[cgroup] = Place(cgroup, path, self._probes(path, {}))
        return place

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        self.places.pop(cgroup, None)

    def must_feel(self, place: Place, event: Event, fired: Fired) -> None:
        """Feed a record to every test that looks at its stream."""
        for probe in place.probes.get(event.signal, ()):
            test = probe.must_test_for(event)
            fires = test.must_update(event.time_ns, event.since_ns, event.value, event.weight)
            if fires and event.time_ns >= test.quiet_until_ns:
                fired(place, self.places.get(event.culprit), probe.rule, test, event)

    def streams(self) -> int:
        """Streams under test."""
        return sum(len(probes) for place in self.places.values() for probes in place.probes.values())

    def rules_on(self, cgroup: int, signal: int) -> tuple[str, ...]:
        """Names of the rules that test one stream."""
        place = self.places.get(cgroup)
        return tuple(probe.rule.name for probe in place.probes.get(signal, ())) if place else ()

    def _probes(self, path: str, kept: Mapping[Rule, Probe]) -> dict[int, tuple[Probe, ...]]:
        probes: dict[int, tuple[Probe, ...]] = {}
        for rule in self._rules:
            if is_empty(rule.scope) or matches(rule.scope, path):
                number = self._numbers[rule.signal]
                probes[number] = (*probes.get(number, ()), kept.get(rule) or Probe(rule))
        return probes
