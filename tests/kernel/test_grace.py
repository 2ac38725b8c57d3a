"""One process that is stopped and goes on, and kills that ask before they compel, on the running kernel."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.reflex.acts import ForeignValueError
from controlplane.arc.reflex.stopping import FreezeProcess
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change, Effect, Finding, Intent, Outcome, Undo
from controlplane.link.rules import NS, Rule, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, await_until, fork_in, fork_rule
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]
BRIEF_NS = 200_000_000
EXECS = "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'"
DEAF = f"trap '' TERM; {EXECS}"
DEAF_FORKER = f"trap '' TERM; {FORKER[2]}"


def exec_rule(cgroup: TestCgroup, *ladder: Step) -> Rule:
    return fork_rule(cgroup, *ladder, signal="process.exec", per="process", name="test-exec")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_is_stopped_and_goes_on(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("freeze", for_ns=BRIEF_NS)))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    effect = turned.await_record(Effect)
    assert (effect.act, state(culprit.pid)) == ("freeze", "T")
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "")
    assert turned.of(Intent)[0].changes == (Change("stopped", "0", "1"),)
    await_until(lambda: state(culprit.pid) != "T", 10)


def test_a_process_that_stops_later_is_asked_for(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("freeze", after_ns=BRIEF_NS, for_ns=60 * NS)))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    turned.await_record(Finding)
    # Within a frozen cgroup nobody gets to stop.
    (cgroup.directory / "cgroup.freeze").write_text("1")
    asked_ns = turned.await_record(Outcome).time_ns + 10_000_000
    turned.turn_until(lambda: time.monotonic_ns() > asked_ns)
    assert not turned.of(Effect)
    (cgroup.directory / "cgroup.freeze").write_text("0")
    turned.await_record(Effect)
    assert state(culprit.pid) == "T"


def test_a_process_that_somebody_else_let_go_on_is_left(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("freeze", for_ns=BRIEF_NS)))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    turned.await_record(Effect)
    culprit.send_signal(signal.SIGCONT)
    assert turned.await_record(Undo).error == "foreign"


def test_a_process_that_has_not_come_to_stop_never_does(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("freeze", after_ns=BRIEF_NS, for_ns=BRIEF_NS)))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    turned.await_record(Finding)
    (cgroup.directory / "cgroup.freeze").write_text("1")
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error, turned.of(Effect)) == (True, "", [])
    (cgroup.directory / "cgroup.freeze").write_text("0")
    # What it is told from now on, it is told after what was pending.
    culprit.send_signal(signal.SIGTERM)
    assert culprit.wait(5) == -signal.SIGTERM


def test_what_was_stopped_before_stays_stopped(cgroup: TestCgroup) -> None:
    process = cgroup.run(*FORKER)
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    process.send_signal(signal.SIGSTOP)
    await_until(lambda: state(process.pid) == "T", 10)
    act = FreezeProcess(ByIdentity())
    victim = Victim(cgroup.id, cgroup.path, process.pid, must_start_ticks(process.pid) * TICK_NS)
    opened = act.must_open(victim, Step("freeze"))
    act.must_apply(opened)
    act.must_release(opened)
    act.undo(victim, opened.changes)
    assert (opened.changes, state(process.pid)) == ((Change("stopped", "1", "1"),), "T")
    process.send_signal(signal.SIGCONT)
    await_until(lambda: state(process.pid) != "T", 10)
    with pytest.raises(ForeignValueError):
        act.undo(victim, opened.changes)


def test_after_a_crash_a_stopped_process_goes_on(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    process = cgroup.run(*FORKER)
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    process.send_signal(signal.SIGSTOP)
    await_until(lambda: state(process.pid) == "T", 10)
    left = {"pid": process.pid, "start_ns": must_start_ticks(process.pid) * TICK_NS}
    leave_journal(tmp_path, intent_on(cgroup, changes=(Change("stopped", "0", "1"),), **left))
    assert [(undo.ok, undo.error) for undo in turn().of(Undo)] == [(True, "")]
    await_until(lambda: state(process.pid) != "T", 10)


def test_a_stopped_process_that_is_killed_is_gone(turn: Turn, cgroup: TestCgroup) -> None:
    ladder = Step("freeze", for_ns=60 * NS), Step("kill", after_ns=BRIEF_NS)
    turned = turn(exec_rule(cgroup, *ladder))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    undo = turned.await_record(Undo)
    assert [effect.act for effect in turned.of(Effect)] == ["freeze", "kill"]
    assert (undo.reason, undo.ok, undo.error) == ("ended", True, "")
    assert culprit.wait(5) == -signal.SIGKILL


def test_who_ends_when_asked_is_not_killed(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("kill", grace_ns=30 * NS)))
    culprit = cgroup.run("sh", "-c", EXECS)
    fork_in(culprit, 1)
    effect = turned.await_record(Effect)
    assert culprit.wait(5) == -signal.SIGTERM
    assert (effect.act, len(turned.of(Intent))) == ("kill", 1)
    assert turned.due() == []


def test_who_does_not_is_killed_when_the_grace_is_over(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("kill", grace_ns=BRIEF_NS)), breaker_acts=1)
    culprit = cgroup.run("sh", "-c", DEAF)
    fork_in(culprit, 1)
    turned.await_record(Effect)
    assert culprit.wait(5) == -signal.SIGKILL
    first, second = turned.of(Outcome)
    assert second.time_ns - first.time_ns >= BRIEF_NS * 0.9
    assert not turned.arc.status().breaker_open
    turned.turn_until(lambda: sum(turned.arc._reaper.tallied().values()) == 1)


def test_a_grace_can_be_cut_off(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, Step("kill", grace_ns=30 * NS)))
    culprit = cgroup.run("sh", "-c", DEAF)
    fork_in(culprit, 1)
    turned.await_record(Outcome)
    assert turned.due() != []
    turned.arc.engine.end_where(lambda _: True)
    assert turned.due() == []
    assert culprit.poll() is None


def test_a_whole_cgroup_is_asked_and_who_stays_is_killed(turn: Turn, cgroup: TestCgroup) -> None:
    polite, deaf = cgroup.run("sleep", "60"), cgroup.run("sh", "-c", DEAF_FORKER)
    await_until(lambda: len(cgroup.read("cgroup.procs").split()) == 2, 10)
    turned = turn(fork_rule(cgroup, Step("kill", grace_ns=BRIEF_NS)))
    fork_in(deaf, 5)
    effect = turned.await_record(Effect)
    assert (polite.wait(5), deaf.wait(5)) == (-signal.SIGTERM, -signal.SIGKILL)
    assert (effect.act, len(turned.of(Outcome))) == ("kill", 2)
