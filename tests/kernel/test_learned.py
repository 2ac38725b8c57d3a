"""What the kernel tells of a rate that is learned: slow streams, and the calm after a storm."""

from collections.abc import Callable

from controlplane.arc.monitor.counts import PoissonTest
from controlplane.arc.monitor.gates import SUMMARY
from controlplane.link.rules import MAX_ALLOWED_NS, Poisson, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

STORM = 2000
SLOW = "i=0; while [ $i -lt 48 ]; do sleep 0.05; i=$((i+1)); done"


def records_of(turned: Turned, cgroup: TestCgroup) -> int:
    """How many the test of the cgroup's forks has had."""
    ((probe,),) = turned.arc._monitor.places[cgroup.id].probes.values()
    test = probe.test
    assert isinstance(test, PoissonTest)
    return test._told


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
