"""Whole reflexes on the running kernel: felt by eBPF, decided, acted, confirmed, undone, journalled."""

import signal
from collections.abc import Callable

import msgspec
import pytest

from controlplane.arc.status import rules_page
from controlplane.link.records import Change, Effect, Finding, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Allowance, Rule, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

Turn = Callable[..., Turned]
BRIEF_NS = 50_000_000


def test_freeze_is_done_confirmed_and_undone_when_its_time_is_over(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("freeze", for_ns=BRIEF_NS)))
    fork_in(cgroup.run(*FORKER), 5)
    undo = turned.await_record(Undo)
    finding, intent = turned.of(Finding)[0], turned.of(Intent)[0]
    outcome, effect = turned.of(Outcome)[0], turned.of(Effect)[0]
    assert (finding.path, finding.cgroup, finding.comm) == (cgroup.path, cgroup.id, "sh")
    assert finding.statistic > finding.threshold == 1
    assert outcome.ok
    assert finding.time_ns < finding.decided_ns < intent.time_ns < outcome.time_ns < undo.time_ns
    assert finding.time_ns < effect.time_ns < undo.time_ns
    assert intent.changes == (Change("cgroup.freeze", "0", "1"),)
    assert (undo.reason, undo.ok, undo.parent_id) == ("timer", True, intent.span_id)
    assert undo.time_ns - outcome.time_ns >= BRIEF_NS * 0.9
    assert not cgroup.frozen
    assert len({record.trace_id for record in (finding, intent, outcome, effect, undo)}) == 1


@pytest.mark.timeout(120)
def test_a_whole_reflex_under_bcc(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("freeze", for_ns=BRIEF_NS)), loader="bcc")
    fork_in(cgroup.run(*FORKER), 5)
    undo = turned.await_record(Undo)
    assert (undo.reason, undo.ok) == ("timer", True)
    assert [effect.act for effect in turned.of(Effect)] == ["freeze"]
    assert turned.arc.status().loader == "bcc"


def test_kill_ends_every_process_of_the_cgroup(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("kill")))
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    effect = turned.await_record(Effect)
    assert effect.act == "kill"
    assert process.wait(5) == -signal.SIGKILL
    assert "populated 0" in cgroup.read("cgroup.events")


def test_kill_of_one_process_leaves_its_neighbours(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(cgroup, Step("kill"), signal="process.exec", per="process", name="test-exec")
    turned = turn(rule)
    neighbour = cgroup.run(*FORKER)
    culprit = cgroup.run("sh", "-c", "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'")
    fork_in(culprit, 1)
    effect = turned.await_record(Effect)
    intent = turned.of(Intent)[0]
    assert (intent.pid, effect.act) == (culprit.pid, "kill")
    assert culprit.wait(5) == -signal.SIGKILL
    assert neighbour.poll() is None


def test_ladder_freezes_then_kills_and_leaves_nothing_frozen(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("freeze", for_ns=60 * NS), Step("kill", after_ns=BRIEF_NS)))
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    undo = turned.await_record(Undo)
    assert [effect.act for effect in turned.of(Effect)] == ["freeze", "kill"]
    assert undo.reason == "ended"
    assert process.wait(5) == -signal.SIGKILL
    assert cgroup.read("cgroup.freeze") == "0"


def test_observe_decides_and_tells_but_does_nothing(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(cgroup, Step("freeze", for_ns=NS), Step("kill"))
    turned = turn(rule, mode="observe")
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    turned.turn_until(lambda: len(turned.of(Intent)) == 2)
    assert [(intent.act, intent.mode) for intent in turned.of(Intent)] == [
        ("freeze", "observe"),
        ("kill", "observe"),
    ]
    assert not turned.of(Outcome)
    assert not cgroup.frozen
    assert process.poll() is None


def test_other_cgroups_are_not_touched(turn: Turn, make_cgroup: Callable[[], TestCgroup]) -> None:
    culprit, other = make_cgroup(), make_cgroup()
    turned = turn(fork_rule(culprit, Step("freeze", for_ns=60 * NS)))
    fork_in(other.run(*FORKER), 20)
    fork_in(culprit.run(*FORKER), 5)
    turned.await_record(Effect)
    assert {finding.path for finding in turned.of(Finding)} == {culprit.path}
    assert not other.frozen


def test_without_a_scope_a_rule_only_observes(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(cgroup, Step("freeze", for_ns=NS))
    scopeless = Rule(name="all", signal=rule.signal, test=rule.test, ladder=rule.ladder, mode="enforce")
    turned = turn(scopeless)
    fork_in(cgroup.run(*FORKER), 5)
    turned.turn_until(lambda: cgroup.id in {finding.cgroup for finding in turned.of(Finding)})
    assert {finding.mode for finding in turned.of(Finding)} == {"observe"}
    assert not turned.of(Outcome)


def test_two_rules_on_one_victim_share_the_freeze(turn: Turn, cgroup: TestCgroup) -> None:
    brief = fork_rule(cgroup, Step("freeze", for_ns=BRIEF_NS), name="brief")
    longer = fork_rule(cgroup, Step("freeze", for_ns=4 * BRIEF_NS), name="longer")
    turned = turn(brief, longer)
    fork_in(cgroup.run(*FORKER), 5)
    first = turned.await_record(Undo)
    assert (first.rule, first.error) == ("brief", "shared")
    assert cgroup.frozen
    turned.turn_until(lambda: len(turned.of(Undo)) == 2)
    assert (turned.of(Undo)[1].rule, turned.of(Undo)[1].error) == ("longer", "")
    assert cgroup.read("cgroup.freeze") == "0"


def test_cooldown_holds_back_the_next_reflex(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, Step("observe"), cooldown_ns=60 * NS))
    process = cgroup.run(*FORKER)
    fork_in(process, 50)
    felt = turned.arc.engine.findings
    turned.turn_until(lambda: bool(felt))
    fork_in(process, 50)
    turned.turn_until(lambda: turned.arc.status().events["process.fork"] >= 75)
    assert felt == {"test-forks": 1}


def test_breaker_opens_after_its_share_of_kills(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(cgroup, Step("kill"), signal="process.exec", per="process", name="test-exec")
    turned = turn(rule, breaker_acts=2)
    for _ in range(2):
        process = cgroup.run("sh", "-c", "exec sh -c 'exec sleep 60'")
        turned.turn_until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
    spared = cgroup.run("sh", "-c", "exec sh -c 'exec sleep 60'")
    refused = turned.await_record(GuardRefused)
    assert refused.guard == "breaker"
    assert spared.poll() is None
    assert turned.arc.status().breaker_open == ("test-exec",)


def test_a_breaker_of_its_own_leaves_other_policies_in_force(turn: Turn, cgroup: TestCgroup) -> None:
    script = "exec sh -c 'exec sh -c \"exec sleep 60\"'"
    rule = fork_rule(cgroup, Step("kill"), signal="process.exec", per="process", name="few")
    rule = msgspec.structs.replace(rule, breaker=Allowance(1, 600 * NS))
    turned = turn(rule, fork_rule(cgroup, Step("freeze", for_ns=60 * NS), name="usual"))
    first = cgroup.run("sh", "-c", script)
    turned.turn_until(lambda: first.poll() is not None)
    spared = cgroup.run("sh", "-c", script)
    assert turned.await_record(GuardRefused).guard == "breaker"
    assert spared.poll() is None
    status = turned.arc.status()
    assert (status.breaker_open, status.breaker) == (("few",), Allowance(5, 60 * NS))
    page = rules_page(turned.arc._book, turned.arc.engine, {}, {}, 0)
    assert [(each.effective_mode, each.breaker) for each in page.rules] == [
        ("observe", Allowance(1, 600 * NS)),
        ("enforce", None),
    ]
    assert turned.arc._health["policy"] == (False, "breaker open: few")
    fork_in(cgroup.run(*FORKER), 5)
    turned.turn_until(lambda: cgroup.frozen)
