"""The arc beyond its budget sheds the dearest sensor, says so, and lets it back when there is room."""

import time
from collections.abc import Callable

from controlplane.arc.self_budget import WINDOW_NS
from controlplane.link.records import Finding, Notice
from controlplane.link.rules import NS, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

Turn = Callable[..., Turned]
SIGNALS = "process.fork", "memory.oom_kill"


class Clock:
    """CPU time used, as the test has it."""

    def __init__(self) -> None:
        self.used_ns = 0

    def __call__(self) -> int:
        return self.used_ns


def later() -> int:
    """A time at which the arc's own wake-ups do not come in between."""
    return time.monotonic_ns() + 3600 * NS


def told(turned: Turned, name: str) -> list[str]:
    return [notice.text for notice in turned.of(Notice) if notice.name == name]


def test_shed_told_and_restored(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), name="forks"))
    arc, clock = turned.arc, Clock()
    budget = arc._self_budget
    budget._used = clock
    budget.begin(start := later())
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    turned.await_record(Finding)
    clock.used_ns = WINDOW_NS // 20
    budget.tend(start + WINDOW_NS)
    assert (told(turned, "sensor.shed"), budget.next_due()) == ([], 0)

    felt = arc._feeling.felt()["process.fork"]
    fork_in(process, 5)
    turned.turn_until(lambda: arc._feeling.felt()["process.fork"] > felt)
    clock.used_ns += WINDOW_NS // 10
    budget.tend(start + 2 * WINDOW_NS)
    (text,) = told(turned, "sensor.shed")
    assert "process: shed: the arc used 10% of a CPU, self_budget is 5%" in text
    (sensor,) = [each for each in arc.status().sensors if each.name == "process"]
    assert (sensor.attached, sensor.reason.startswith("shed")) == (False, True)
    assert budget.next_due() == start + 3 * WINDOW_NS
    arc._settle(0)
    assert arc._health["sensor.process"][0] is False
    assert arc.engine.unfelt >= {"process.fork", "process.exec"}
    felt = arc._feeling.felt()["process.fork"]
    arc._put_rules_in_force()
    fork_in(process, 50)
    cgroup.run("true").wait(10)
    arc.loop.must_turn(0)
    assert arc._feeling.felt()["process.fork"] == felt

    budget.tend(start + 3 * WINDOW_NS)
    assert told(turned, "sensor.restored") == ["process feels again"]
    assert (budget.next_due(), arc.engine.unfelt) == (0, set())
    fork_in(process, 5)
    turned.turn_until(lambda: arc._feeling.felt()["process.fork"] > felt)


def test_one_that_is_shed_again_stays_so_for_longer(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), name="forks"))
    arc, clock = turned.arc, Clock()
    budget = arc._self_budget
    budget._used = clock
    budget.begin(now := later())
    process = cgroup.run(*FORKER)
    for windows in (1, 2, 4):
        arc._feeling.records[1] += 1
        now += WINDOW_NS
        clock.used_ns += WINDOW_NS
        budget.tend(now)
        assert len(budget._shed) == 1
        for _ in range(windows):
            assert len(budget._shed) == 1
            now += WINDOW_NS
            budget.tend(now)
        assert budget._shed == []
    process.kill()


def test_the_dearest_is_not_who_is_felt_most(turn: Turn, cgroup: TestCgroup) -> None:
    rules = (fork_rule(cgroup, Step("observe"), name=signal, signal=signal) for signal in SIGNALS)
    arc = turn(*rules).arc
    budget, clock, timing = arc._self_budget, Clock(), arc._self_budget._timing
    budget._used = clock
    budget.begin(now := later())
    many, dear = (arc._sensors.numbers[signal] for signal in SIGNALS)
    for records, spent_ns in (((100, 1), (0, 0)), ((100, 20), (1_000, 90_000)), ((100, 20), (0, 0))):
        arc._feeling.records[many] += records[0]
        arc._feeling.records[dear] += records[1]
        timing.spent_ns[many] += spent_ns[0]
        timing.spent_ns[dear] += spent_ns[1]
        now += WINDOW_NS
        clock.used_ns += WINDOW_NS // 25
        budget.tend(now)
        assert timing.on
    assert budget._shed == []
    arc._feeling.records[many] += 100
    arc._feeling.records[dear] += 20
    clock.used_ns += WINDOW_NS
    budget.tend(now + WINDOW_NS)
    assert [shed.sensor.name for shed in budget._shed] == ["memory"]


def test_records_are_timed_only_while_it_matters(turn: Turn, cgroup: TestCgroup) -> None:
    arc = turn(fork_rule(cgroup, Step("observe"), name="forks")).arc
    budget, clock, timing = arc._self_budget, Clock(), arc._self_budget._timing
    fork = arc._sensors.numbers["process.fork"]
    budget._used = clock
    budget.begin(start := later())
    process = cgroup.run(*FORKER)

    def felt_and_timed() -> tuple[bool, bool]:
        felt, spent_ns = arc._feeling.records[fork], timing.spent_ns[fork]
        fork_in(process, 64)
        while arc._feeling.records[fork] == felt:
            arc.loop.must_turn(1)
        return timing.on, timing.spent_ns[fork] > spent_ns

    assert felt_and_timed() == (False, False)
    clock.used_ns += WINDOW_NS // 25
    budget.tend(start + WINDOW_NS)
    assert felt_and_timed() == (True, True)
    budget.tend(start + 2 * WINDOW_NS)
    assert felt_and_timed() == (False, False)


def test_with_nothing_felt_nothing_is_shed(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), name="forks"))
    budget, clock = turned.arc._self_budget, Clock()
    budget._used = clock
    budget.begin(start := later())
    clock.used_ns = WINDOW_NS
    budget.tend(start + WINDOW_NS)
    assert told(turned, "sensor.shed") == []
