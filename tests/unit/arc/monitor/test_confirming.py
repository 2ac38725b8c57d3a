"""The second signal of a rule: whose trouble it confirms, for how long, and what is left of it."""

import msgspec
import pytest

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.monitor.confirming import sentinels
from controlplane.arc.monitor.gates import gates_for
from controlplane.arc.monitor.streams import Monitor
from controlplane.link.rules import NS, Confirm, Level, Poisson, Rate, Rule, Scope, Step

FORK, EXEC, PSI, BLOCK = 1, 2, 3, 4
NUMBERS = {"process.fork": FORK, "process.exec": EXEC, "psi.memory": PSI, "block.latency": BLOCK}
ROOT, A, B = 1, 7, 8
OWN = frozenset({"process.fork", "process.exec"})
BY_EXEC = Confirm("process.exec", Rate(interval_ns=NS, burst=2))
BY_PSI = Confirm("psi.memory", Level(2000), 5 * NS)
BY_BLOCK = Confirm("block.latency", Level(50))


def rule(confirm: Confirm, name: str = "r") -> Rule:
    return Rule(
        name=name,
        signal="process.fork",
        scope=Scope(cgroups=("/pods/*",)),
        test=Poisson(1000),
        confirm=confirm,
        ladder=(Step("kill"),),
    )


def monitor_with(*rules: Rule) -> Monitor:
    monitor = Monitor(NUMBERS)
    for cgroup, path in ((ROOT, "/"), (A, "/pods/a"), (B, "/pods/b")):
        monitor.name(cgroup, path)
    monitor.name_other(BLOCK, 80, "8:0 write")
    monitor.confirming.must_own = lambda _cgroup, signal: signal in OWN
    monitor.set_rules(rules)
    return monitor


def feel(monitor: Monitor, signal: int, at: int, value: int, time_ns: int = NS) -> None:
    (place,) = (place for place in monitor.places.values() if place.key == at)
    who = (at, place.cgroup, 0, 10, 0, 1, 1)
    event = Event(time_ns, value, time_ns, *who, value, 0, 0, signal, EventKind.SIGNAL, 0, b"sh")
    monitor.must_feel(place, event, lambda *_: pytest.fail("a second signal is no finding"))


def test_the_same_cgroup_confirms_and_no_other() -> None:
    monitor, confirmed = monitor_with(rule(BY_EXEC)), rule(BY_EXEC)
    feel(monitor, EXEC, A, 2)
    assert not monitor.must_confirmed(confirmed, A, NS)
    feel(monitor, EXEC, A, 1)
    assert monitor.must_confirmed(confirmed, A, NS)
    assert not monitor.must_confirmed(confirmed, B, NS)
    assert not monitor.must_confirmed(confirmed, ROOT, NS)
    assert not monitor.must_confirmed(confirmed, 99, NS)


def test_it_counts_for_its_time_since_it_was_last_exceeded() -> None:
    monitor, confirmed = monitor_with(rule(BY_EXEC)), rule(BY_EXEC)
    feel(monitor, EXEC, A, 9, NS)
    feel(monitor, EXEC, A, 9, 2 * NS)
    assert monitor.must_confirmed(confirmed, A, 12 * NS)
    assert not monitor.must_confirmed(confirmed, A, 12 * NS + 1)


def test_a_cgroup_without_pressure_of_its_own_has_that_of_the_node() -> None:
    monitor, confirmed = monitor_with(rule(BY_PSI)), rule(BY_PSI)
    monitor.confirming.must_own = lambda cgroup, _signal: cgroup == A
    feel(monitor, PSI, ROOT, 3000)
    assert monitor.must_confirmed(confirmed, B, NS)
    assert not monitor.must_confirmed(confirmed, A, NS)
    feel(monitor, PSI, A, 3000)
    assert monitor.must_confirmed(confirmed, A, NS)


def test_any_device_confirms() -> None:
    monitor, confirmed = monitor_with(rule(BY_BLOCK)), rule(BY_BLOCK)
    assert not monitor.must_confirmed(confirmed, A, NS)
    feel(monitor, BLOCK, 80, 51)
    assert monitor.must_confirmed(confirmed, A, NS)
    assert monitor.must_confirmed(confirmed, B, NS)


def test_each_rule_has_a_threshold_of_its_own() -> None:
    mild, stern = rule(BY_PSI), rule(Confirm("psi.memory", Level(5000)), "stern")
    monitor = monitor_with(mild, stern)
    feel(monitor, PSI, ROOT, 3000)
    assert monitor.must_confirmed(mild, A, NS)
    assert not monitor.must_confirmed(stern, A, NS)


def test_a_reload_keeps_what_a_rule_knows_and_forgets_what_it_no_longer_asks() -> None:
    kept = rule(BY_EXEC)
    monitor = monitor_with(kept, rule(BY_EXEC, "other"))
    feel(monitor, EXEC, A, 9)
    changed = rule(msgspec.structs.replace(BY_EXEC, within_ns=NS), "other")
    monitor.set_rules([kept, changed])
    assert monitor.must_confirmed(kept, A, NS)
    assert not monitor.must_confirmed(changed, A, NS)
    assert not monitor.must_confirmed(rule(BY_EXEC, "other"), A, NS)


def test_a_cgroup_that_is_gone_takes_its_confirmation_with_it() -> None:
    monitor, confirmed = monitor_with(rule(BY_EXEC)), rule(BY_EXEC)
    feel(monitor, EXEC, A, 9)
    monitor.forget(A)
    assert not monitor.must_confirmed(confirmed, A, NS)
    monitor.name(A, "/pods/a")
    assert not monitor.must_confirmed(confirmed, A, NS)


def test_second_signals_are_no_streams_under_test() -> None:
    plain = msgspec.structs.replace(rule(BY_EXEC), confirm=None)
    assert monitor_with(rule(BY_EXEC)).streams() == monitor_with(plain).streams()


def test_what_confirms_is_felt_as_if_a_rule_asked_for_it() -> None:
    rules = (rule(BY_EXEC), rule(BY_PSI), msgspec.structs.replace(rule(BY_BLOCK), mode="off"))
    felt = (*rules, *sentinels(rules))
    gates = gates_for(felt, NUMBERS)
    assert [name for name in NUMBERS if gates[name].open] == ["process.fork", "process.exec", "psi.memory"]
    assert {each.scope for each in felt if each.signal == "psi.memory"} == {rules[0].scope, Scope()}
