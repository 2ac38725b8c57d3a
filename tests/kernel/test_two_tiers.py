"""A policy that learns kills only what a second signal confirms: storms in a cgroup of the test's own."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.kernel.psi import PRESSURE
from controlplane.link.frames import ApplyRule, DeleteRule, Refused
from controlplane.link.records import Effect, Finding, GuardRefused, Intent, Outcome
from controlplane.link.rules import NS, Confirm, Level, Poisson, Rate, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.test_psi import hog, pressure_files

Turn = Callable[..., Turned]
FORKER = ("sh", "-c", "while read -r line; do (:); done; while :; do /bin/true; done")
"""Forks once for each line on its standard input; at the end it executes programs, one after the other."""
CALM = 80
"""Forks from which the rate is learned: a few more than its warm-up."""
PACE_S = 0.01
STORM = 300
WITH_PRESSURE = pytest.mark.skipif(not Path(PRESSURE).is_dir(), reason=f"{PRESSURE} is missing")


def rules(cgroup: TestCgroup) -> tuple[Rule, Rule]:
    """One that learns and kills, and one for which the kernel tells each fork by itself."""
    learned = fork_rule(
        cgroup,
        Step("kill"),
        name="learned",
        test=Poisson(10 * NS),
        confirm=Confirm("process.exec", Rate(interval_ns=NS // 5, burst=5), 10 * NS),
        cooldown_ns=60 * NS,
    )
    each = fork_rule(cgroup, Step("observe"), name="each", per="process", test=Rate(NS, 1000), mode="observe")
    return learned, each


def calm(turned: Turned, cgroup: TestCgroup) -> None:
    """Let it learn how the cgroup forks, at a pace of its own."""
    process = cgroup.started[0]
    for _ in range(CALM):
        fork_in(process, 1)
        until = time.monotonic() + PACE_S
        while (left := until - time.monotonic()) > 0:
            turned.arc.loop.must_turn(left)


def test_a_storm_that_nothing_confirms_is_told_and_survives(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(*rules(cgroup))
    process = cgroup.run(*FORKER)
    calm(turned, cgroup)
    fork_in(process, STORM)
    refused = turned.await_record(GuardRefused)
    turned.turn_until(lambda: turned.arc.status().events["process.fork"] >= CALM + STORM)
    finding = turned.of(Finding)[0]
    assert (refused.guard, refused.act, refused.path) == ("unconfirmed", "kill", cgroup.path)
    assert refused.detail.endswith("process.exec does not confirm it")
    assert (refused.parent_id, finding.mode) == (finding.span_id, "enforce")
    assert turned.arc.engine.refusals == {"unconfirmed": 1}
    assert not turned.of(Outcome)
    assert process.poll() is None


def test_a_signal_that_nobody_feels_confirms_nothing(turn: Turn, cgroup: TestCgroup) -> None:
    learned, _ = rules(cgroup)
    unknown = msgspec.structs.replace(learned, confirm=Confirm("process.exce", Rate(NS, 1)))
    answer = turn(learned).arc._commands.answer(ApplyRule(id=1, rule=unknown))
    assert answer == Refused("invalid", "unknown signal 'process.exce'")


def test_once_confirmed_the_same_alarm_kills(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(*rules(cgroup))
    process = cgroup.run(*FORKER)
    calm(turned, cgroup)
    fork_in(process, STORM)
    refused = turned.await_record(GuardRefused)
    assert process.stdin is not None
    process.stdin.close()
    effect = turned.await_record(Effect)
    intent = turned.of(Intent)[0]
    assert refused.time_ns < intent.time_ns < effect.time_ns
    assert (effect.act, effect.trace_id) == ("kill", refused.trace_id)
    assert process.wait(5) == -signal.SIGKILL


def pressed(turned: Turned, cgroup: TestCgroup, rule: Rule) -> None:
    """Await that pressure confirms trouble of a cgroup in which too many want one CPU."""
    hog(cgroup)
    monitor = turned.arc._monitor
    assert not monitor.must_confirmed(rule, cgroup.id, time.monotonic_ns())
    turned.turn_until(lambda: monitor.must_confirmed(rule, cgroup.id, time.monotonic_ns()), 15)


@WITH_PRESSURE
def test_pressure_of_the_same_cgroup_confirms(
    turn: Turn, make_cgroup: Callable[[], TestCgroup], mount: Path
) -> None:
    cgroup, other = make_cgroup(), make_cgroup()
    both = Scope(cgroups=(cgroup.path, other.path))
    rule = fork_rule(cgroup, Step("kill"), scope=both, confirm=Confirm("psi.cpu", Level(1000)))
    turned = turn(rule)
    own = sorted(f"{mount}{each.path}/cpu.pressure" for each in (cgroup, other))
    assert pressure_files() == [f"{PRESSURE}/cpu", *own]
    pressed(turned, cgroup, rule)
    assert not turned.arc._monitor.must_confirmed(rule, other.id, time.monotonic_ns())
    turned.arc._commands.answer(DeleteRule(id=1, name=rule.name))
    assert pressure_files() == []


@WITH_PRESSURE
def test_where_a_cgroup_has_no_trigger_the_nodes_pressure_confirms(
    turn: Turn, cgroup: TestCgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.arc.kernel.psi.MAX_TRIGGERS", 1)
    rule = fork_rule(cgroup, Step("kill"), confirm=Confirm("psi.cpu", Level(500)))
    turned = turn(rule)
    assert pressure_files() == [f"{PRESSURE}/cpu"]
    pressed(turned, cgroup, rule)
