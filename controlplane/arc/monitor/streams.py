"""Streams: which rules look at what, with the state of their tests.

Pure: is told of cgroups and given records; reads no clock and opens nothing. Bounded in places and
in processes per rule.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.confirming import Confirming, Watches
from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.tests import Test, make_test
from controlplane.arc.monitor.trail import Trail
from controlplane.link.rules import Betting, Rule, allowance_ns, is_empty
from controlplane.link.scope import matches

BETS: Final = 1 << 15
"""Added to the number of a signal: what its bets in the kernel come to is a stream of its own."""

MAX_PLACES: Final = 16384
MAX_PROCESSES: Final = 4096
"""Processes one rule with `per: process` follows in one place; the oldest go first."""

PLACES_A_BREATH: Final = 16
"""Some hundred microseconds of matching globs."""


class Probe:
    """One rule looking at one place."""

    __slots__ = (
        "_per_process",
        "_replayed",
        "_tests",
        "adapted",
        "budget",
        "firing",
        "rule",
        "test",
        "trail",
        "untold",
    )

    def __init__(self, rule: Rule, budget: Budget, *, replayed: bool) -> None:
        """All probes of a rule share its budget."""
        self.rule = rule
        self.budget = budget
        self._per_process = rule.per == "process"
        self._replayed = replayed
        self.test = make_test(rule.test, budget, replayed=replayed)
        self._tests: dict[tuple[int, int], Test] = {}
        self.trail = Trail()
        self.firing = False
        self.untold = 0
        """Records that fired since the last finding."""
        self.adapted = 0
        """Changes for good that have been told."""
        budget.streams += self._streams()

    def must_test_for(self, event: Event) -> Test:
        """The test of the event's stream."""
        if not self._per_process:
            return self.test
        key = (event.pid, event.start_ns)
        test = self._tests.get(key)
        if test is None:
            if len(self._tests) >= MAX_PROCESSES:
                del self._tests[next(iter(self._tests))]
                self.budget.streams -= 1
            test = self._tests[key] = make_test(self.rule.test, self.budget, replayed=self._replayed)
            self.budget.streams += 1
        return test

    def close(self) -> None:
        """The place is forgotten."""
        self.budget.streams -= self._streams()

    def _streams(self) -> int:
        return len(self._tests) if self._per_process else 1


Probes = dict[int, tuple[Probe, ...]]
"""By number of the signal; made when a stream is felt for the first time, for most never are."""

Lookers = Mapping[int, tuple[tuple[Rule, Budget], ...]]
"""Rules that look at a place, by number of their signal, each with its budget."""


class Place:
    """Where signals are felt: a cgroup, or with `signal` set the one stream of a device, a CPU ..."""

    __slots__ = ("cgroup", "key", "lookers", "path", "probes", "signal", "watches")

    def __init__(self, cgroup: int, path: str, signal: int = 0, key: int = 0) -> None:
        self.cgroup = cgroup
        """0 for any other place."""
        self.path = path
        """Of the cgroup, or what people call the other place."""
        self.lookers: Lookers = {}
        """The same object in all places that the same rules look at."""
        self.probes: Probes = {}
        self.watches: Watches = {}
        self.signal = signal
        self.key = key or cgroup

    def rules(self) -> Iterator[Rule]:
        """All rules that look at it."""
        return (rule for lookers in self.lookers.values() for rule, _ in lookers)

    def rules_of(self, number: int) -> Iterator[Rule]:
        """Those that look at one signal."""
        return (rule for at in (number, number | BETS) for rule, _ in self.lookers.get(at, ()))


NOBODY: Final = Place(0, "")
"""Stands for a cgroup that is not known (any more)."""


class SavedTest(NamedTuple):
    """What one rule has learned in one place, over a restart of the daemon."""

    rule: str
    place: int
    learned: tuple[float, ...]


Fired = Callable[[Place, Place, Place, Rule, Test, Event], None]
"""Takes (where it was felt, whose cgroup it is about, the culprit's cgroup, rule, test, event)."""


def must_place_number(signal: int, key: int) -> int:
    """Key under which a place other than a cgroup is kept; ids of cgroups are far smaller."""
    return signal << 56 | key & 2**56 - 1


class Monitor:
    """All streams under the rules in force."""

    def __init__(
        self,
        numbers: Mapping[str, int],
        make_budget: Callable[[int], Budget] = Budget,
        *,
        replayed: bool = False,
    ) -> None:
        """`make_budget` takes the time per alarm that is allowed, 0 where a rule states none.

        `replayed`: there is no kernel that bets, all is done here.
        """
        self.numbers = numbers
        """Of every signal, by name."""
        self._make_budget = make_budget
        self._replayed = replayed
        self.confirming = Confirming(numbers)
        self._rules: tuple[Rule, ...] = ()
        self._lookers: dict[int, Lookers] = {}
        """By which of the rules look, a bit for each."""
        self._remembered: dict[tuple[str, int], tuple[float, ...]] = {}
        self.adapted: Callable[[Place, int], None] = lambda _place, _signal: None
        """Is told of a stream that has changed for good."""
        self.must_storm: Callable[[Place, Rule], None] = lambda _place, _rule: None
        """Is told when a stream fires for the first time since its finding."""
        self.budgets: dict[str, Budget] = {}
        """By rule."""
        self.places: dict[int, Place] = {}
        """Cgroups by id, others by `must_place_number`."""

    def set_rules(self, rules: Iterable[Rule], breathe: Callable[[], None] = lambda: None) -> None:
        """Put rules in force. The tests of those that did not change keep their state and their budget.

        `breathe` is called now and then: with many places this takes long, and it may come back here
        with records, and make and forget places.
        """
        before = {rule: self.budgets[rule.name] for rule in self._rules}
        self._rules = tuple(rule for rule in rules if rule.mode != "off")
        self.confirming.set_rules(self._rules)
        self.budgets = {
            rule.name: before.get(rule) or self._make_budget(allowance_ns(rule.test)) for rule in self._rules
        }
        self._lookers.clear()
        for number, (at, place) in enumerate(list(self.places.items())):
            if number % PLACES_A_BREATH == 0:
                breathe()
            if self.places.get(at) is place:
                self._look(place)

    def name(self, cgroup: int, path: str) -> Place:
        """Begin to follow a cgroup."""
        return self._add(cgroup, Place(cgroup, path))

    def name_other(self, signal: int, key: int, label: str) -> Place:
        """Begin to follow one signal of a device, a CPU ..."""
        return self._add(must_place_number(signal, key), Place(0, label, signal, key))

    def _add(self, number: int, place: Place) -> Place:
        """Beyond the bound the one known longest is forgotten."""
        if len(self.places) >= MAX_PLACES:
            self.forget(next(iter(self.places)))
        self.forget(number)
        self._look(place)
        self.places[number] = place
        return place

    def forget(self, number: int) -> None:
        """A cgroup is gone, or what else has that number."""
        place = self.places.pop(number, NOBODY)
        for probes in place.probes.values():
            for probe in probes:
                probe.close()

    def must_feel(self, place: Place, event: Event, fired: Fired) -> None:
        """Feed a record to every test that looks at its stream."""
        for watch in place.watches.get(event.signal, ()):
            watch.must_feel(event)
        self._must_feel(place, event, event.signal, event.value, fired)

    def must_feel_bet(self, place: Place, event: Event, fired: Fired) -> None:
        """What the bets of a stream have come to, to every test that is made of them."""
        self._must_feel(place, event, event.signal | BETS, event.statistic, fired)

    def _must_feel(self, place: Place, event: Event, number: int, told: int, fired: Fired) -> None:
        now_ns, value, weight = event.time_ns, event.value, event.weight
        probes = place.probes.get(number)
        if probes is None:
            probes = self.begin(place, number)
        for probe in probes:
            test = probe.must_test_for(event)
            fires = test.must_update(now_ns, event.since_ns, told, weight)
            probe.trail.must_note(event, now_ns, value, weight, test.statistic)
            if not fires:
                if probe.firing:
                    self.calm(probe, place, test)
                continue
            probe.firing = True
            test.fired_ns = now_ns
            if now_ns >= test.quiet_until_ns:
                who = place if place.cgroup else self.places.get(event.cgroup, NOBODY)
                if place.cgroup or must_concern(probe.rule, who):
                    fired(place, who, self.places.get(event.culprit, NOBODY), probe.rule, test, event)
            else:
                probe.untold += 1
                if probe.untold == 1:
                    self.must_storm(place, probe.rule)

    def calm(self, probe: Probe, place: Place, test: Test) -> None:
        """An alarm is over: perhaps because what was a change is how it is now."""
        probe.firing = False
        if isinstance(test, PoissonTest) and test.adapted != probe.adapted:
            probe.adapted = test.adapted
            self.adapted(place, self.numbers[probe.rule.signal])

    def must_confirmed(self, rule: Rule, cgroup: int, now_ns: int) -> bool:
        """Whether the second signal of `rule` shows trouble of that cgroup, too."""
        place = self.places.get(cgroup)
        return place is not None and self.confirming.must_hold(rule, cgroup, place.watches, now_ns)

    def saved(self) -> Iterator[SavedTest]:
        """What tests of whole places have learned; places may come and go meanwhile."""
        for number, place in list(self.places.items()):
            for probe in [probe for probes in place.probes.values() for probe in probes]:
                if isinstance(probe.test, PoissonTest):
                    yield SavedTest(probe.rule.name, number, probe.test.saved())
        for (rule, number), learned in list(self._remembered.items()):
            if number in self.places:
                yield SavedTest(rule, number, learned)

    def remember(self, saved: Iterable[SavedTest]) -> None:
        """Tests that are made from now on begin with what they had learned."""
        self._remembered = {(each.rule, each.place): each.learned for each in saved}

    def begin(self, place: Place, number: int) -> tuple[Probe, ...]:
        """A stream is felt for the first time."""
        probes = tuple(self._probe(*looker, place) for looker in place.lookers.get(number, ()))
        place.probes[number] = probes
        return probes

    def bets(self, place: Place, signal: int) -> Iterator[BetsTest]:
        """Tests of bets on a signal in force in a place."""
        number = signal | BETS
        for probe in place.probes.get(number) or self.begin(place, number):
            if isinstance(probe.test, BetsTest):
                yield probe.test

    def _probe(self, rule: Rule, budget: Budget, place: Place) -> Probe:
        probe = Probe(rule, budget, replayed=self._replayed)
        number = place.cgroup or must_place_number(place.signal, place.key)
        learned = self._remembered.pop((rule.name, number), None)
        if learned is not None and isinstance(probe.test, PoissonTest):
            with contextlib.suppress(ValueError):
                probe.test.restore(learned)
        return probe

    def streams(self) -> int:
        """Streams under test. Not counted one by one: a scrape must not hold up the ring."""
        return sum(budget.streams for budget in self.budgets.values())

    def _watches(self, place: Place) -> Watches:
        return self.confirming.watches(place.cgroup, place.path, place.signal, place.watches)

    def _look(self, place: Place) -> None:
        """Settle which rules look at a place. Streams that were felt keep the tests of rules that stay."""
        place.lookers = self._lookers_of(place)
        place.watches = self._watches(place)
        kept = {probe.rule: probe for probes in place.probes.values() for probe in probes}
        place.probes = {
            number: tuple(kept.get(rule) or self._probe(rule, budget, place) for rule, budget in lookers)
            for number, lookers in place.lookers.items()
            if number in place.probes
        }

    def _lookers_of(self, place: Place) -> Lookers:
        numbers = [self.numbers[rule.signal] for rule in self._rules]
        which = sum(
            1 << at
            for at, (rule, number) in enumerate(zip(self._rules, numbers, strict=True))
            if number == place.signal or (place.cgroup and must_concern(rule, place))
        )
        if which not in self._lookers:
            found: dict[int, tuple[tuple[Rule, Budget], ...]] = {}
            for at, rule in enumerate(self._rules):
                if which >> at & 1:
                    in_kernel = isinstance(rule.test, Betting) and not self._replayed
                    number = numbers[at] | (BETS if in_kernel else 0)
                    found[number] = (*found.get(number, ()), (rule, self.budgets[rule.name]))
            self._lookers[which] = found
        return self._lookers[which]


def must_concern(rule: Rule, who: Place) -> bool:
    """Whether a rule's scope has this cgroup in it."""
    return is_empty(rule.scope) or matches(rule.scope, who.path)
