"""Weights of cgroups and priorities of processes on the running kernel: set, confirmed, undone, refused."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel import priorities
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.reflex.victims import Victim
from controlplane.arc.reflex.weights import ReweighProcess
from controlplane.link.amounts import IDLE, Amount
from controlplane.link.records import Change, Effect, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Rule, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, await_until, fork_in, fork_rule
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]
BRIEF_NS = 50_000_000
EXECS = ("sh", "-c", "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'")
MILDER = (Amount("nice", 10), Amount("ionice", IDLE), Amount("oom_score_adj", 500))
MILD = ["10", "idle", "500"]
THREADS = """
import os, threading, time
os.setpriority(os.PRIO_PROCESS, 0, 0)
def run(nice):
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    ready.wait()
    time.sleep(60)
ready = threading.Barrier(3)
for nice in (0, 5):
    threading.Thread(target=run, args=(nice,), daemon=True).start()
ready.wait()
print(flush=True)
time.sleep(60)
"""


def exec_rule(cgroup: TestCgroup, for_ns: int, *amounts: Amount) -> Rule:
    """Once: on a slow machine a process may execute again when its first reflex is long over."""
    step = Step("reweigh", for_ns=for_ns, amounts=amounts or MILDER)
    changes = {"signal": "process.exec", "per": "process", "name": "test-exec", "cooldown_ns": 60 * NS}
    return fork_rule(cgroup, step, **changes)


def priorities_of(pid: int) -> list[str]:
    directory = os.open(f"/proc/{pid}", os.O_RDONLY)
    try:
        return [priorities.must_get(directory, amount.key) for amount in MILDER]
    finally:
        os.close(directory)


USUAL = priorities_of(os.getpid())
"""Children have those of the tests."""


def test_a_process_is_reweighed_and_has_its_own_priorities_again(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, 4 * BRIEF_NS))
    culprit = cgroup.run(*EXECS)
    fork_in(culprit, 1)
    effect = turned.await_record(Effect)
    assert priorities_of(culprit.pid) == MILD
    intent, undo = turned.of(Intent)[0], turned.await_record(Undo)
    assert [change.before for change in intent.changes] == USUAL
    assert (effect.act, intent.pid, undo.error, undo.reason) == ("reweigh", culprit.pid, "", "timer")
    assert priorities_of(culprit.pid) == USUAL


def test_what_somebody_else_set_meanwhile_is_left(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, 4 * BRIEF_NS))
    culprit = cgroup.run(*EXECS)
    fork_in(culprit, 1)
    turned.await_record(Effect)
    os.setpriority(os.PRIO_PROCESS, culprit.pid, 3)
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "foreign")
    assert priorities_of(culprit.pid) == ["3", *USUAL[1:]]


def test_a_process_that_ends_meanwhile_needs_no_undo(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(exec_rule(cgroup, 4 * BRIEF_NS))
    culprit = cgroup.run(*EXECS)
    fork_in(culprit, 1)
    turned.await_record(Effect)
    culprit.kill()
    culprit.wait()
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "")


def test_after_a_crash_priorities_are_restored(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    process = running_in(cgroup)
    start_ns = must_start_ticks(process.pid) * TICK_NS
    act = ReweighProcess(ByIdentity())
    opened = act.must_open(Victim(cgroup.id, cgroup.path, process.pid, start_ns), milder())
    act.must_apply(opened)
    act.must_release(opened)
    left = {"act": "reweigh", "pid": process.pid, "start_ns": start_ns, "changes": opened.changes}
    leave_journal(tmp_path, intent_on(cgroup, **left))  # type: ignore[arg-type]
    undo = turn().of(Undo)[0]
    assert (undo.reason, undo.ok, undo.error) == ("restart", True, "")
    assert priorities_of(process.pid) == USUAL


def test_after_a_crash_another_process_with_the_same_pid_is_left(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path
) -> None:
    process = running_in(cgroup)
    os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    left = {"act": "reweigh", "pid": process.pid, "start_ns": must_start_ticks(process.pid) * TICK_NS - NS}
    leave_journal(tmp_path, intent_on(cgroup, changes=(Change("nice", "0", "10"),), **left))  # type: ignore[arg-type]
    undo = turn().of(Undo)[0]
    assert (undo.ok, undo.error, priorities_of(process.pid)[0]) == (True, "", "10")


def running_in(cgroup: TestCgroup) -> subprocess.Popen[bytes]:
    """One that has arrived there, or nobody would end it."""
    process = cgroup.run("sleep", "60")
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    return process


def milder() -> Step:
    return Step("reweigh", for_ns=NS, amounts=MILDER)


def test_another_process_with_the_same_pid_is_not_touched(cgroup: TestCgroup) -> None:
    process = running_in(cgroup)
    start_ns = must_start_ticks(process.pid) * TICK_NS
    with pytest.raises(ProcessLookupError):
        ReweighProcess(ByIdentity()).must_open(
            Victim(cgroup.id, cgroup.path, process.pid, start_ns - NS), milder()
        )
    assert priorities_of(process.pid) == USUAL


@pytest.mark.parametrize(("what", "value"), [("nice", "10"), ("ionice", "idle")])
def test_who_has_the_number_of_a_thread_that_ended_gets_back_its_own(what: str, value: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as process, subprocess.Popen(["sleep", "60"]) as innocent:
        task = os.open(f"/proc/{process.pid}/task", os.O_RDONLY)
        before = priorities.must_get_of_thread(innocent.pid, what)
        done = [
            priorities.must_set_thread(task, str(each.pid), what, before, value)
            for each in (process, innocent)
        ]
        after = [priorities.must_get_of_thread(each.pid, what) for each in (process, innocent)]
        os.close(task)
        process.kill()
        innocent.kill()
    assert (done, after) == ([True, False], [value, before])


def test_nothing_stays_open_when_a_process_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        victim = Victim(1, "/a", process.pid, must_start_ticks(process.pid) * TICK_NS)
        opened = ReweighProcess(ByIdentity()).must_open(victim, milder())
        before = len([*Path("/proc/self/fd").iterdir()])
        process.kill()
    with pytest.raises(ProcessLookupError):
        ReweighProcess(ByIdentity()).must_apply(opened)
    with pytest.raises(OSError, match="No such"):
        ReweighProcess(ByIdentity()).must_open(victim, milder())
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    ReweighProcess(ByIdentity()).must_release(opened)


def test_threads_share_the_fate_of_the_first_unless_they_differ() -> None:
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        directory = os.open(f"/proc/{process.pid}", os.O_RDONLY)
        priorities.must_set(directory, "nice", "10")
        set_to = nice_values(process.pid)
        priorities.must_set(directory, "nice", "0")
        undone = nice_values(process.pid)
        os.close(directory)
        process.send_signal(signal.SIGKILL)
    assert (set_to, undone) == ([5, 10, 10], [0, 0, 5])


def nice_values(pid: int) -> list[int]:
    return sorted(
        os.getpriority(os.PRIO_PROCESS, int(each.name)) for each in Path(f"/proc/{pid}/task").iterdir()
    )


def test_without_the_controller_it_is_refused_and_told(turn: Turn, cgroup: TestCgroup) -> None:
    if (cgroup.directory / "cpu.weight").exists():
        pytest.skip("the controller cpu is enabled for every cgroup here")
    turned = turn(fork_rule(cgroup, Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 10),))))
    fork_in(cgroup.run(*FORKER), 5)
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, refused.act) == ("absent", "reweigh")
    assert "cpu.weight" in refused.detail
    assert not turned.of(Outcome)


def test_a_cgroup_is_reweighed_and_has_its_own_weights_again(turn: Turn, controlled: TestCgroup) -> None:
    wanted = {"cpu": "cpu.weight", "io": "io.weight"}
    there = [key for key, file in wanted.items() if (controlled.directory / file).exists()]
    if "cpu" not in there:
        pytest.skip("the controller cpu is not in this cgroup2 hierarchy")
    amounts = tuple(Amount(key, 10) for key in there)  # type: ignore[arg-type]
    turned = turn(fork_rule(controlled, Step("reweigh", for_ns=4 * BRIEF_NS, amounts=amounts)))
    fork_in(controlled.run(*FORKER), 5)
    turned.await_record(Effect)
    assert [controlled.read(wanted[key]).split("\n")[0].split()[-1] for key in there] == ["10"] * len(there)
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "")
    assert Change("cpu.weight", "100", "10") in turned.of(Intent)[0].changes
    assert controlled.read("cpu.weight") == "100"
