"""What the kernel tells of a rate that is learned: slow streams, and the calm after a storm."""

from collections.abc import Callable

from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.gates import SUMMARY
from controlplane.link.frames import ListRules, Rules
from controlplane.link.records import Finding
from controlplane.link.rules import MAX_ALLOWED_NS, MAX_SPAN_NS, NS, Poisson, Rare, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

STORM = 2000
SLOW = "i=0; while [ $i -lt 48 ]; do sleep 0.05; i=$((i+1)); done"


def records_of(turned: Turned, cgroup: TestCgroup) -> int:
    """How many the test of the cgroup's forks has had."""
    probes = [*turned.arc._monitor.places[cgroup.id].probes.values()]
    if not probes:
        return 0
    ((probe,),) = probes
    test = probe.test
    assert isinstance(test, PoissonTest)
    return test._told


def test_of_a_rare_thing_each_event_is_told_and_counted(
    turn: Callable[..., Turned], cgroup: TestCgroup
) -> None:
    """Four forks where one in a week is allowed: the first begins the clock, the budget holds the others."""
    rare = Rare(interval_ns=MAX_SPAN_NS, allowed_ns=3600 * NS)
    turned = turn(fork_rule(cgroup, Step("observe"), test=rare, mode="observe"))
    process = cgroup.run(*FORKER)
    fork_in(process, 4)
    finding = turned.await_record(Finding)
    assert (finding.test, finding.path) == ("rare", cgroup.path)
    turned.turn_until(lambda: turned.arc.status().events["process.fork"] >= 4)
    (budget,) = turned.arc.status().budgets.values()
    answer = turned.arc._commands.answer(ListRules(id=1))
    assert isinstance(answer, Rules)
    assert budget.streams == answer.rules[0].budget.streams == 1
    assert budget.tests_per_s > 0
    assert 3600 <= budget.tests_per_alarm <= 4 * 3600


def test_it_is_told_of_slow_streams_also_after_a_storm(
    turn: Callable[..., Turned], cgroup: TestCgroup
) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), test=Poisson(MAX_ALLOWED_NS), mode="observe"))
    storm = cgroup.run(*FORKER)
    fork_in(storm, STORM)
    assert storm.stdin is not None
    storm.stdin.close()
    turned.turn_until(lambda: records_of(turned, cgroup) >= 20)
    before = records_of(turned, cgroup)
    assert before < STORM / SUMMARY
    slow = cgroup.run("sh", "-c", SLOW)
    turned.turn_until(lambda: slow.poll() is not None, 30)
    assert records_of(turned, cgroup) > before
