"""A protected program that is moved into a cgroup protects it, as one that is executed there does."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.link.records import GuardRefused
from controlplane.link.rules import Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.felt import EVERY_ONE, Felt


def protected(felt: Felt, *cgroups: TestCgroup) -> list[Event]:
    """What was told of the test's own; others may execute a program of that name."""
    own = {cgroup.id for cgroup in cgroups}
    return [event for event in felt.events if event.kind == EventKind.PROTECTED and event.cgroup in own]


def move(process: subprocess.Popen[bytes], before: TestCgroup, after: TestCgroup) -> None:
    """From one cgroup to another, which has it end with the test."""
    before.started.remove(process)
    after.started.append(process)
    (after.directory / "cgroup.procs").write_text(str(process.pid))


def sleeping_in(felt: Felt, cgroup: TestCgroup) -> subprocess.Popen[bytes]:
    """A program that is executed before its name is protected."""
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    process = cgroup.run("sleep", "60")
    felt.await_event(lambda event: event.pid == process.pid and event.comm.rstrip(b"\0") == b"sleep")
    assert felt.sensors.shared_map("protected_names", 16, 1).must_update(b"sleep".ljust(16, b"\0"), b"\1")
    return process


def test_a_move_is_told_with_where_to(felt: Felt, make_cgroup: Callable[[], TestCgroup]) -> None:
    before, after = make_cgroup(), make_cgroup()
    sleeping = sleeping_in(felt, before)
    move(sleeping, before, after)
    event = felt.await_event(lambda event: event.kind == EventKind.PROTECTED and event.pid == sleeping.pid)
    assert (event.cgroup, event.key) == (after.id, after.id)
    assert event.comm.rstrip(b"\0") == b"sleep"
    assert event.start_ns


def test_others_are_moved_in_silence(felt: Felt, make_cgroup: Callable[[], TestCgroup]) -> None:
    before, after = make_cgroup(), make_cgroup()
    sleeping = sleeping_in(felt, before)
    shell = before.run(*FORKER)
    fork_in(shell, 1)
    move(shell, before, after)
    move(sleeping, before, after)
    felt.await_event(lambda event: event.kind == EventKind.PROTECTED and event.pid == sleeping.pid)
    assert {event.pid for event in protected(felt, before, after)} == {sleeping.pid}


def test_a_move_within_another_hierarchy_says_nothing(felt: Felt, cgroup: TestCgroup) -> None:
    other = Path("/sys/fs/cgroup/freezer") / cgroup.path[1:]
    if not other.parent.is_dir():
        pytest.skip("no v1 hierarchy is mounted here")
    sleeping = sleeping_in(felt, cgroup)
    other.mkdir()
    try:
        (other / "cgroup.procs").write_text(str(sleeping.pid))
        felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
        failed = cgroup.run("false")
        felt.await_event(lambda event: event.pid == failed.pid and event.comm.rstrip(b"\0") == b"false")
        assert not protected(felt, cgroup)
    finally:
        cgroup.clear()
        other.rmdir()


def test_no_act_reaches_a_cgroup_into_which_a_protected_program_was_moved(
    turn: Callable[..., Turned], make_cgroup: Callable[[], TestCgroup]
) -> None:
    home, forking = make_cgroup(), make_cgroup()
    running = turn(fork_rule(forking, Step(act="kill")), protect=("sleep",))
    shell = forking.run(*FORKER)
    moved = home.run("sleep", "60")
    running.turn_until(lambda: "sleep" in Path(f"/proc/{moved.pid}/comm").read_text())
    move(moved, home, forking)
    fork_in(shell, 8)
    refused = running.await_record(GuardRefused)
    assert (refused.guard, refused.path) == ("protected", forking.path)
    assert (shell.poll(), moved.poll()) == (None, None)
