"""Policies that the kernel carries out by itself: it tests, guards and acts in the hook; the arc tells."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.placements import PLACES
from controlplane.arc.status import rules_page
from controlplane.link.records import Change, Effect, Finding, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Allowance, Rate, Rule, Scope, Step, Where
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.test_deny import AGAIN, Asker, denials, socket
from tests.patience import patient

__all__ = ["denials", "socket"]

Turn = Callable[..., Turned]
TWICE = ("sh", "-c", "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'")
"""Told to go on, it executes three programs."""


def kill_rule(cgroup: TestCgroup, **changes: object) -> Rule:
    """Fires at a process's third execution within a second."""
    named: dict[str, object] = {
        "name": "test-exec",
        "signal": "process.exec",
        "per": "process",
        "where": "kernel",
    }
    return fork_rule(cgroup, Step("kill"), **(named | changes))


def deny_rule(cgroup: TestCgroup, *, for_ns: int = 60 * NS, **changes: object) -> Rule:
    return fork_rule(cgroup, Step("deny", for_ns=for_ns, what="fork"), **changes)


def go_on(process: subprocess.Popen[bytes]) -> None:
    fork_in(process, 1)


def where(turned: Turned) -> dict[str, tuple[str, str]]:
    """Of each rule, who carries it out and what is wrong with that."""
    page = rules_page(turned.arc._book, turned.arc.engine, {}, {}, 0)
    return {each.rule.name: (each.where, each.reason) for each in page.rules}


def test_a_kill_is_done_told_and_confirmed(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup))
    assert where(turned) == {"test-exec": ("kernel", "")}
    neighbour, culprit = cgroup.run(*FORKER), cgroup.run(*TWICE)
    go_on(culprit)
    assert culprit.wait(patient(5)) == -signal.SIGKILL
    effect = turned.await_record(Effect)
    finding, intent, outcome = turned.of(Finding)[0], turned.of(Intent)[0], turned.of(Outcome)[0]
    assert (finding.path, finding.pid, finding.test) == (cgroup.path, culprit.pid, "rate")
    assert finding.statistic >= finding.threshold == 1
    assert (intent.pid, intent.act, intent.mode, outcome.ok) == (culprit.pid, "kill", "enforce", True)
    assert finding.time_ns < finding.decided_ns == intent.time_ns < outcome.time_ns < effect.time_ns
    assert len({record.trace_id for record in (finding, intent, outcome, effect)}) == 1
    assert neighbour.poll() is None
    assert turned.arc.engine.breaker._times["test-exec"]


def test_the_arc_need_not_be_awake(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup))
    culprit = cgroup.run(*TWICE)
    go_on(culprit)
    assert culprit.wait(patient(5)) == -signal.SIGKILL
    assert not turned.of(Finding)


def test_a_forker_is_killed_by_its_own_rate(turn: Turn, cgroup: TestCgroup) -> None:
    rule = kill_rule(cgroup, signal="process.fork", test=Rate(interval_ns=NS, burst=20))
    turned = turn(rule)
    slow, culprit = cgroup.run(*FORKER), cgroup.run(*FORKER)
    fork_in(slow, 10)
    fork_in(culprit, 100)
    assert culprit.wait(patient(5)) == -signal.SIGKILL
    turned.await_record(Effect)
    assert [finding.pid for finding in turned.of(Finding)] == [culprit.pid]
    assert slow.poll() is None


def test_observe_tells_and_does_nothing(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup), mode="observe")
    culprit = cgroup.run(*TWICE)
    go_on(culprit)
    assert turned.await_record(Intent).mode == "observe"
    assert (turned.of(Outcome), culprit.poll()) == ([], None)
    assert turned.arc.engine.steps == {("kill", "observed"): 1}


def test_other_cgroups_are_not_touched(turn: Turn, make_cgroup: Callable[[], TestCgroup]) -> None:
    culprit, other = make_cgroup(), make_cgroup()
    turned = turn(kill_rule(culprit))
    spared, killed = other.run(*TWICE), culprit.run(*TWICE)
    go_on(spared)
    go_on(killed)
    assert killed.wait(patient(5)) == -signal.SIGKILL
    turned.await_record(Effect)
    assert {finding.path for finding in turned.of(Finding)} == {culprit.path}
    assert spared.poll() is None


def test_a_cgroup_that_is_born_later_is_in_scope(turn: Turn, make_cgroup: Callable[[], TestCgroup]) -> None:
    first = make_cgroup()
    turned = turn(kill_rule(first, scope=Scope(cgroups=(first.path.rpartition("-")[0] + "-*",))))
    second = make_cgroup()
    turned.turn_until(lambda: second.id in turned.arc._in_kernel._scopes)
    culprit = second.run(*TWICE)
    go_on(culprit)
    assert culprit.wait(patient(5)) == -signal.SIGKILL
    second.remove()
    turned.turn_until(lambda: second.id not in turned.arc._in_kernel._scopes)


def test_a_protected_name_is_let_be(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    (tmp_path / "precious").symlink_to("/bin/sh")
    turned = turn(kill_rule(cgroup), protect=("precious",))
    # Executions of a protected name fire, too.
    again = "exec ./precious -c 'exec ./precious -c \"read -r line\"'"
    precious = cgroup.run("sh", "-c", f"cd {tmp_path}; read -r line; {again}")
    go_on(precious)
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, refused.pid, precious.poll()) == ("protected", precious.pid, None)


def test_a_protected_process_is_let_be_whatever_its_name(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup))
    precious = cgroup.run(*TWICE)
    with Path(f"/proc/{precious.pid}/stat").open() as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    placements = turned.arc._in_kernel._placements
    assert placements is not None
    placements.protect([(precious.pid, ticks)])
    go_on(precious)
    assert turned.await_record(GuardRefused).guard == "protected"
    assert precious.poll() is None


def test_the_daemon_itself_is_let_be(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup))
    own = cgroup.run(*TWICE)
    turned.arc._denials.spare((own.pid,))
    go_on(own)
    assert turned.await_record(GuardRefused).guard == "protected"
    assert own.poll() is None


def test_its_breaker_opens_and_closes_by_command(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup), breaker_acts=2, breaker_window_s=3600)
    for _ in range(2):
        culprit = cgroup.run(*TWICE)
        go_on(culprit)
        assert culprit.wait(patient(5)) == -signal.SIGKILL
    spared = cgroup.run(*TWICE)
    go_on(spared)
    assert turned.await_record(GuardRefused).guard == "breaker"
    assert spared.poll() is None
    assert turned.arc.status().breaker_open == ("test-exec",)
    observed = cgroup.run(*TWICE)
    go_on(observed)
    turned.turn_until(lambda: ("kill", "observed") in turned.arc.engine.steps)
    comms = [Path(f"/proc/{each.pid}/comm") for each in (spared, observed)]
    # They execute no more, so they fire no more.
    turned.turn_until(lambda: all(comm.read_text() == "sleep\n" for comm in comms))
    turned.arc.engine.breaker.close("test-exec")
    turned.arc._put_rules_in_force()
    placements = turned.arc._in_kernel._placements
    assert placements is not None
    assert placements.breaker(turned.arc._in_kernel._seats["test-exec"].at).taken == 0
    refused_by_the_node = cgroup.run(*TWICE)
    go_on(refused_by_the_node)
    turned.turn_until(lambda: len(turned.of(GuardRefused)) == 2)
    assert turned.of(GuardRefused)[1].guard == "breaker"
    assert placements.breaker(PLACES).open == 1
    assert refused_by_the_node.poll() is None


def test_a_breaker_of_its_own_leaves_other_policies_in_force(turn: Turn, cgroup: TestCgroup) -> None:
    few = kill_rule(cgroup, breaker=Allowance(1, 3600 * NS))
    turned = turn(few, kill_rule(cgroup, name="usual", signal="process.fork"), breaker_acts=3)
    culprit, spared, forker = cgroup.run(*TWICE), cgroup.run(*TWICE), cgroup.run(*FORKER)
    go_on(culprit)
    assert culprit.wait(patient(5)) == -signal.SIGKILL
    go_on(spared)
    assert turned.await_record(GuardRefused).guard == "breaker"
    fork_in(forker, 10)
    assert forker.wait(patient(5)) == -signal.SIGKILL
    assert spared.poll() is None
    assert turned.arc.status().breaker_open == ("test-exec",)


def test_cooldown_holds_there_too(turn: Turn, cgroup: TestCgroup) -> None:
    rule = fork_rule(
        cgroup, Step("kill"), name="test-fork", per="process", where="kernel", cooldown_ns=60 * NS
    )
    turned = turn(rule, mode="observe")
    process = cgroup.run(*FORKER)
    fork_in(process, 50)
    felt = turned.arc.engine.findings
    turned.turn_until(lambda: bool(felt))
    fork_in(process, 50)
    process.stdin.close()  # type: ignore[union-attr]
    turned.turn_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
    turned.arc.loop.must_turn(0)
    assert felt == {"test-fork": 1}


def test_a_change_of_mode_keeps_the_place(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup), mode="observe")
    before = turned.arc._in_kernel._seats["test-exec"].id
    turned.arc.engine.mode = "enforce"
    turned.arc._put_rules_in_force()
    assert turned.arc._in_kernel._seats["test-exec"].id == before
    culprit = cgroup.run(*TWICE)
    go_on(culprit)
    assert culprit.wait(patient(5)) == -signal.SIGKILL


def test_a_rule_that_is_gone_does_nothing(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(kill_rule(cgroup))
    turned.arc._book.delete("test-exec")
    turned.arc._put_rules_in_force()
    assert turned.arc._in_kernel._scopes[cgroup.id] == 0
    survivor = cgroup.run(*TWICE)
    go_on(survivor)
    turned.turn_until(lambda: Path(f"/proc/{survivor.pid}/comm").read_text() == "sleep\n")
    assert not turned.of(Finding)


def test_what_does_not_fit_rests_with_a_reason(turn: Turn, cgroup: TestCgroup) -> None:
    rules = [kill_rule(cgroup, name=f"rule-{number:02}") for number in range(17)]
    turned = turn(*rules)
    assert where(turned)["rule-16"] == ("kernel", "not in the kernel: it has room for 16")


@pytest.mark.timeout(120)
def test_under_bcc_the_arc_carries_out_what_it_may(turn: Turn, cgroup: TestCgroup) -> None:
    asked = kill_rule(cgroup, name="asked")
    turned = turn(asked, deny_rule(cgroup, name="auto"), loader="bcc")
    assert where(turned) == {
        "asked": ("kernel", "not in the kernel: sensors compiled by bcc leave every policy to the arc"),
        "auto": ("userspace", ""),
    }


def observing(turned: Turned) -> Turned:
    """With denials placed even where there is no BPF LSM: nothing is done."""
    turned.arc._denials.absent = ""
    turned.arc._put_rules_in_force()
    return turned


def test_a_denial_is_only_told_in_observe_mode(turn: Turn, cgroup: TestCgroup) -> None:
    turned = observing(turn(deny_rule(cgroup), mode="observe"))
    assert where(turned) == {"test-forks": ("kernel", "")}
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    intent = turned.await_record(Intent)
    assert (intent.act, intent.mode, intent.pid, intent.changes) == ("deny", "observe", 0, ())
    assert turned.of(Finding)[0].comm == "sh"
    assert not turned.of(Outcome)


def test_a_cgroup_with_a_protected_program_is_denied_nothing(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path
) -> None:
    (tmp_path / "precious").symlink_to("/bin/sh")
    turned = observing(turn(deny_rule(cgroup), mode="observe", protect=("precious",)))
    scopes = turned.arc._in_kernel._scopes
    assert scopes[cgroup.id] == 1
    cgroup.run(str(tmp_path / "precious"), "-c", "read -r line")
    turned.turn_until(lambda: scopes[cgroup.id] == 0)
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    process.stdin.close()  # type: ignore[union-attr]
    turned.turn_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
    turned.arc.loop.must_turn(0)
    assert not turned.of(Finding)


@pytest.mark.usefixtures("denials")
def test_a_denial_is_done_counted_and_undone(turn: Turn, cgroup: TestCgroup, socket: Path) -> None:
    turned = turn(deny_rule(cgroup))
    assert where(turned) == {"test-forks": ("kernel", "")}
    asker = Asker(cgroup, socket)
    assert [asker.ask("fork") for _ in range(3)] == ["done", "done", AGAIN]
    turned.await_record(Effect)
    assert turned.of(Intent)[0].changes == (Change("fork", "allowed", "denied"),)
    turned.stop()
    (undo,) = turned.of(Undo)
    assert (undo.ok, undo.detail) == (True, "forks denied: 1")
    assert asker.ask("fork") == "done"


@pytest.mark.usefixtures("denials")
def test_a_denial_of_the_kernel_ends_by_itself(turn: Turn, cgroup: TestCgroup, socket: Path) -> None:
    turned = turn(deny_rule(cgroup, for_ns=NS // 5, cooldown_ns=60 * NS))
    asker = Asker(cgroup, socket)
    assert [asker.ask("fork") for _ in range(3)] == ["done", "done", AGAIN]
    assert turned.await_record(Undo).reason == "timer"
    assert asker.ask("fork") == "done"


@pytest.mark.usefixtures("denials")
@pytest.mark.parametrize("where", ["kernel", "userspace"])
def test_who_goes_on_trying_is_not_quiet(turn: Turn, cgroup: TestCgroup, socket: Path, where: Where) -> None:
    turned = turn(deny_rule(cgroup, quiet_ns=NS, where=where))
    asker = Asker(cgroup, socket)

    def deny() -> int:
        """Fork until that is denied; when it was asked for last."""
        asked_ns = time.monotonic_ns()
        while asker.ask("fork") != AGAIN:
            turned.arc.loop.must_turn(0)
            asked_ns = time.monotonic_ns()
        return asked_ns

    begun_ns = last_ns = deny()
    while (now_ns := time.monotonic_ns()) < begun_ns + 2 * NS:
        assert asker.ask("fork") == AGAIN
        turned.arc.loop.must_turn(0)
        last_ns = now_ns
    undo = turned.await_record(Undo)
    assert (undo.reason, asker.ask("fork")) == ("quiet", "done")
    assert undo.time_ns >= last_ns + NS
    deny()
    turned.turn_until(lambda: len(turned.of(Intent)) == 2)
