"""De-escalation on the running kernel: what is in force goes once the signal was quiet for so long."""

import os
from collections.abc import Callable

from controlplane.link.amounts import Amount
from controlplane.link.frames import DeleteRule, SetMode
from controlplane.link.records import Intent, Undo
from controlplane.link.rules import NS, Rule, Step
from tests.kernel.conftest import TestCgroup, Turned, fork_in, fork_rule

Turn = Callable[..., Turned]
SCRIPT = 'read -r line; exec sh -c "$0" "$0"'
EXECUTOR = ("sh", "-c", SCRIPT, SCRIPT)
"""Executes a program, itself again, for each line on its standard input."""
NICE = Step("reweigh", for_ns=3600 * NS, amounts=(Amount("nice", 5),))
OOM = Step("reweigh", for_ns=3600 * NS, amounts=(Amount("oom_score_adj", 300),))


def rule_on(cgroup: TestCgroup) -> Rule:
    """In force for an hour, or a second of quiet."""
    return fork_rule(cgroup, NICE, OOM, signal="process.exec", per="process", name="execs", quiet_ns=NS)


def test_a_second_of_quiet_undoes_the_last_step_first(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(rule_on(cgroup))
    culprit = cgroup.run(*EXECUTOR)
    fork_in(culprit, 4)
    turned.turn_until(lambda: len(turned.of(Intent)) == 2)
    assert os.getpriority(os.PRIO_PROCESS, culprit.pid) == 5
    fork_in(culprit, 1)
    (probe,) = turned.arc._monitor.places[cgroup.id].probes[2]
    turned.turn_until(lambda: len(turned.of(Undo)) == 2)
    first, second = turned.of(Undo)
    by_span = {intent.span_id: intent.step for intent in turned.of(Intent)}
    assert [by_span[undo.parent_id] for undo in (first, second)] == [1, 0]
    assert {undo.reason for undo in (first, second)} == {"quiet"}
    last_ns = max(test.fired_ns for test in probe._tests.values())
    assert last_ns > turned.of(Intent)[0].time_ns
    assert first.time_ns - last_ns >= NS
    assert os.getpriority(os.PRIO_PROCESS, culprit.pid) == 0
    assert turned.due() == []


def test_a_policy_that_is_deleted_and_a_mode_undo_what_is_in_force(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(rule_on(cgroup))
    culprit = cgroup.run(*EXECUTOR)
    for command, reason in (
        (SetMode(id=1, mode="observe", rule="execs"), "mode"),
        (SetMode(id=2, mode="enforce", rule="execs"), ""),
        (DeleteRule(id=3, name="execs"), "policy"),
    ):
        if reason:
            fork_in(culprit, 4)
            turned.turn_until(lambda: len(turned.arc.engine.holdings.all()) == 2)
        turned.arc._commands.answer(command)
        if reason:
            assert [undo.reason for undo in turned.of(Undo)][-2:] == [reason, reason]
            assert os.getpriority(os.PRIO_PROCESS, culprit.pid) == 0
