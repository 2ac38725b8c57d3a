"""Streams: who looks at which cgroup, and that nothing grows without bound."""

import msgspec
import pytest

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.monitor import streams
from controlplane.arc.monitor.streams import Monitor, Place, SavedTest
from controlplane.arc.reflex.telling import must_repeats
from controlplane.link.rules import NS, Poisson, Rate, Rule, Scope

NUMBERS = {"process.fork": 1, "cpu.runq_delay": 4}


def event(cgroup: int = 7, pid: int = 1, time_ns: int = NS) -> Event:
    return Event(
        time_ns, 1, time_ns, cgroup, cgroup, 0, pid * 10, 0, pid, 1, 1, 0, 0, 1, EventKind.SIGNAL, 0, b"sh"
    )


def rule(name: str = "r", burst: int = 1, per: str = "cgroup", cgroups: tuple[str, ...] = ()) -> Rule:
    return Rule(
        name=name,
        signal="process.fork",
        per=per,  # type: ignore[arg-type]
        scope=Scope(cgroups=cgroups),
        test=Rate(interval_ns=NS, burst=burst),
    )


def fired_by(monitor: Monitor, *events: Event) -> list[tuple[str, int]]:
    """(rule, pid) of every finding."""
    found: list[tuple[str, int]] = []

    def fired(_at: Place, _who: Place, _culprit: Place, rule: Rule, _test: object, event: Event) -> None:
        found.append((rule.name, event.pid))

    for each in events:
        monitor.must_feel(monitor.places[each.cgroup], each, fired)
    return found


def monitor_with(*rules: Rule) -> Monitor:
    monitor = Monitor(NUMBERS)
    monitor.name(7, "/pods/a")
    monitor.set_rules(rules)
    return monitor


def test_scope_decides_who_is_looked_at() -> None:
    monitor = monitor_with(rule(cgroups=("/pods/**",)))
    monitor.name(8, "/system/b")
    assert fired_by(monitor, event(7), event(7)) == [("r", 1)]
    assert fired_by(monitor, event(8), event(8), event(8)) == []
    assert [rule.name for rule in monitor.places[7].rules()] == ["r"]
    assert not list(monitor.places[8].rules())


def test_cgroups_have_tests_of_their_own() -> None:
    monitor = monitor_with(rule(burst=2))
    monitor.name(8, "/pods/b")
    assert fired_by(monitor, event(7), event(8), event(7), event(8)) == []
    assert fired_by(monitor, event(8)) == [("r", 1)]


def test_what_fires_while_it_cools_down_is_counted_for_the_next_finding() -> None:
    monitor = monitor_with(rule())
    place = monitor.places[7]
    assert len(fired_by(monitor, event(), event())) == 1
    (probe,) = place.probes[1]
    probe.test.quiet_until_ns = 2 * NS
    assert fired_by(monitor, event(), event(), event()) == []
    assert len(fired_by(monitor, *(event(time_ns=2 * NS),) * 3)) == 3
    assert must_repeats(place, probe.rule) == 3
    assert must_repeats(place, probe.rule) == 0


def test_per_process_each_has_a_test_of_its_own() -> None:
    monitor = monitor_with(rule(per="process"))
    assert fired_by(monitor, event(pid=1), event(pid=2), event(pid=2)) == [("r", 2)]


def test_processes_are_bounded() -> None:
    monitor = monitor_with(rule(per="process"))
    (probe,) = monitor.begin(monitor.places[7], 1)
    for pid in range(streams.MAX_PROCESSES + 10):
        probe.must_test_for(event(pid=pid))
    assert len(probe._tests) == streams.MAX_PROCESSES


def test_cgroups_are_bounded() -> None:
    monitor = monitor_with(rule())
    for cgroup in range(100, 100 + streams.MAX_PLACES):
        monitor.name(cgroup, f"/many/{cgroup}")
    assert len(monitor.places) == streams.MAX_PLACES
    assert 7 not in monitor.places


def test_a_rule_that_did_not_change_keeps_its_state() -> None:
    kept, other = rule("kept", burst=2), rule("other", burst=2)
    monitor = monitor_with(kept, other)
    assert fired_by(monitor, event(), event()) == []
    monitor.set_rules([kept, rule("other", burst=5)])
    assert fired_by(monitor, event()) == [("kept", 1)]


def test_a_rule_that_did_not_change_keeps_its_budget() -> None:
    learned = Rule(name="learned", signal="process.fork", test=Poisson(3600 * NS))
    monitor = monitor_with(learned, rule("stated"))
    budget = monitor.budgets["learned"]
    assert (budget.allowed_ns, monitor.budgets["stated"].allowed_ns) == (3600 * NS, 0)
    assert monitor.begin(monitor.places[7], 1)[0].budget is budget
    monitor.set_rules([learned, rule("stated", burst=5)])
    assert monitor.budgets["learned"] is budget
    monitor.set_rules([msgspec.structs.replace(learned, cooldown_ns=5)])
    assert monitor.budgets["learned"] is not budget
    assert list(monitor.budgets) == ["learned"]


def streams_of(monitor: Monitor, name: str = "r") -> int:
    return monitor.budgets[name].streams


def name(monitor: Monitor, cgroup: int, path: str) -> None:
    """A cgroup that is felt at once."""
    monitor.begin(monitor.name(cgroup, path), 1)


def test_a_stream_begins_when_it_is_felt() -> None:
    monitor = monitor_with(rule())
    assert (streams_of(monitor), monitor.streams()) == (0, 0)
    fired_by(monitor, event())
    assert (streams_of(monitor), monitor.streams()) == (1, 1)


def test_places_that_the_same_rules_look_at_share_them() -> None:
    monitor = monitor_with(rule(cgroups=("/pods/**",)), rule("other"))
    first, second, third = (
        monitor.name(number, path) for number, path in ((8, "/pods/b"), (9, "/pods/c"), (10, "/system"))
    )
    assert first.lookers is second.lookers
    assert [rule.name for rule in third.rules_of(1)] == ["other"]


def test_streams_come_and_go() -> None:
    monitor = monitor_with(rule(cgroups=("/pods/**",)))
    name(monitor, 7, "/pods/a")
    assert streams_of(monitor) == 1
    name(monitor, 8, "/pods/b")
    name(monitor, 9, "/system")
    assert streams_of(monitor) == 2
    name(monitor, 8, "/pods/b")
    monitor.set_rules([rule(cgroups=("/pods/**",))])
    assert streams_of(monitor) == 2
    monitor.set_rules([rule(cgroups=("/**",))])
    fired_by(monitor, event(9))
    assert streams_of(monitor) == 3
    monitor.forget(8)
    monitor.forget(8)
    assert streams_of(monitor) == 2
    monitor.set_rules([])
    assert monitor.budgets == {}


def test_places_that_go_and_come_while_rules_are_put_in_force() -> None:
    monitor = monitor_with(rule())
    name(monitor, 7, "/pods/a")
    name(monitor, 8, "/pods/b")

    def breathe() -> None:
        monitor.forget(8)
        name(monitor, 9, "/pods/c")
        name(monitor, 10, "/pods/d")

    monitor.set_rules([rule(burst=5)], breathe)
    assert (streams_of(monitor), len(monitor.places), monitor.streams()) == (3, 3, 3)


def test_processes_are_streams() -> None:
    monitor = monitor_with(rule(per="process"))
    assert streams_of(monitor) == 0
    for pid in range(streams.MAX_PROCESSES + 10):
        fired_by(monitor, event(pid=pid))
    assert streams_of(monitor) == streams.MAX_PROCESSES
    monitor.forget(7)
    assert streams_of(monitor) == 0


def test_the_streams_of_a_place_that_makes_room_are_gone() -> None:
    monitor = monitor_with(rule())
    for cgroup in range(100, 100 + streams.MAX_PLACES):
        name(monitor, cgroup, f"/many/{cgroup}")
    assert streams_of(monitor) == streams.MAX_PLACES


def test_a_cgroup_that_is_gone_leaves_nothing() -> None:
    monitor = monitor_with(rule())
    name(monitor, 7, "/pods/a")
    assert monitor.streams() == 1
    monitor.forget(7)
    assert monitor.streams() == 0
    assert not monitor.places


def learned(events: int) -> Rule:
    return Rule(name="l", signal="process.fork", test=Poisson(events))


def fed(rules: list[Rule], remembered: list[SavedTest]) -> Monitor:
    monitor = Monitor(NUMBERS)
    monitor.remember(remembered)
    monitor.set_rules(rules)
    place = monitor.name(7, "/a")
    for number in range(100):
        monitor.must_feel(place, event(time_ns=(number + 1) * NS), lambda *_: None)
    return monitor


def test_what_was_learned_outlives_a_restart() -> None:
    (saved,) = fed([learned(1000)], []).saved()
    assert (saved.rule, saved.place) == ("l", 7)
    monitor = Monitor(NUMBERS)
    monitor.remember([saved])
    monitor.set_rules([learned(1000)])
    monitor.name(7, "/a")
    assert list(monitor.saved()) == [saved]


@pytest.mark.parametrize("at", range(17))
@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0])
def test_nonsense_is_not_remembered(at: int, nonsense: float) -> None:
    (saved,) = fed([learned(1000)], []).saved()
    values = list(saved.learned)
    values[at] = nonsense
    fed([learned(1000)], [saved._replace(learned=tuple(values))])


def test_a_test_of_another_shape_is_not_remembered() -> None:
    fed([learned(1000)], [SavedTest("l", 7, (1.0, 2.0)), SavedTest("x", 7, ()), SavedTest("l", 8, ())])


def test_a_change_for_good_is_told_once() -> None:
    monitor = Monitor(NUMBERS)
    told: list[tuple[str, int]] = []
    monitor.adapted = lambda place, signal: told.append((place.path, signal))
    monitor.set_rules([learned(3600 * NS)])
    place, now = monitor.name(7, "/a"), 0
    for step, number in ((NS, 300), (NS // 20, 3000)):
        for _ in range(number):
            now += step
            monitor.must_feel(place, event(time_ns=now)._replace(since_ns=now - step), lambda *_: None)
    assert told == [("/a", 1)]
