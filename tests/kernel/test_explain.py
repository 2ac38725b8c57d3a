"""What is journalled of a real storm and of real delays, so that they can be explained."""

from collections.abc import Callable
from functools import partial

import pytest

from controlplane.arc.monitor.streams import Probe
from controlplane.arc.monitor.trail import RECORDS
from controlplane.link.records import ENCODER, Evidence, Finding, Intent, Outcome
from controlplane.link.rules import NS, Level, Rate, Rule, Scope, Step
from controlplane.link.samples import samples_in
from tests.kernel.conftest import FORKER, TestCgroup, Turned, await_until, fork_in, fork_rule

BUSY = ("sh", "-c", "while :; do :; done")


def test_a_storm_with_its_records_its_forker_and_its_rival(
    turn: Callable[..., Turned], make_cgroup: Callable[[], TestCgroup]
) -> None:
    calm, storm = make_cgroup(), make_cgroup()
    scope = Scope(cgroups=(calm.path, storm.path))
    turned = turn(fork_rule(storm, Step("freeze", for_ns=NS), scope=scope, test=Rate(NS // 100, 100)))
    fork_in(calm.run(*FORKER), 48)
    turned.turn_until(lambda: any(probe.trail.weight_since(0) for probe in probes(turned, calm)))
    forker = storm.run(*FORKER)
    fork_in(forker, 400)
    evidence = turned.await_record(Evidence)
    finding = turned.await_record(Finding)
    trail = samples_in(evidence.trail)
    assert (evidence.trace_id, evidence.span_id) == (finding.trace_id, finding.span_id)
    assert (trail[-1].time_ns, trail[-1].statistic) == (finding.time_ns, finding.statistic)
    assert [sample.time_ns for sample in trail] == sorted(sample.time_ns for sample in trail)
    assert all(sample.statistic <= finding.threshold for sample in trail[:-1])
    assert sum(sample.weight for sample in trail) > finding.threshold
    assert (evidence.suspects[0].pid, evidence.suspects[0].parent) == (forker.pid, True)
    assert evidence.itself.path == storm.path
    assert [rival.path for rival in evidence.rivals] == [calm.path]
    kinds = [type(record) for record in turned.records()]
    assert kinds.index(Intent) < kinds.index(Finding) < kinds.index(Outcome) < kinds.index(Evidence)


def probes(turned: Turned, cgroup: TestCgroup) -> list[Probe]:
    return [probe for each in turned.arc._monitor.places[cgroup.id].probes.values() for probe in each]


def test_delays_with_their_histogram_and_whoever_ran_instead(
    turn: Callable[..., Turned], make_cgroup: Callable[[], TestCgroup]
) -> None:
    waiting, hog = make_cgroup(), make_cgroup()
    rule = Rule(
        name="test-delays",
        signal="cpu.runq_delay",
        scope=Scope(cgroups=(waiting.path,)),
        test=Level(1_000_000),
        cooldown_ns=0,
        mode="observe",
    )
    turned = turn(rule)
    for cgroup in (waiting, hog):
        for _ in range(4):
            cgroup.run(*BUSY)
        await_until(partial(are_in, cgroup, 4), 10)
    turned.turn_until(lambda: any(hog.id in named(each) for each in turned.of(Evidence)), 20)
    last = turned.of(Evidence)[-1]
    assert sum(bucket.count for bucket in last.buckets) >= last.itself.recent
    assert len(samples_in(last.trail)) <= RECORDS
    assert len(ENCODER.encode(last)) <= 4096


def are_in(cgroup: TestCgroup, number: int) -> bool:
    return len(cgroup.read("cgroup.procs").split()) == number


def named(evidence: Evidence) -> set[int]:
    return {suspect.cgroup for suspect in evidence.suspects}


@pytest.mark.parametrize("count", [1, 40])
def test_each_of_a_few_findings_and_not_all_of_many(
    turn: Callable[..., Turned], cgroup: TestCgroup, count: int
) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), per="process", test=Rate(NS, 0), mode="observe"))
    fork_in(cgroup.run(*FORKER), count)
    turned.turn_until(lambda: len(turned.of(Finding)) >= count)
    turned.turn_until(lambda: not turned.arc.engine.held)
    explained = {evidence.trace_id for evidence in turned.of(Evidence)}
    assert explained <= {finding.trace_id for finding in turned.of(Finding)}
    assert 1 <= len(explained) <= len(turned.of(Finding))
