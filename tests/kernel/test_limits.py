"""Limits on the running kernel: set, read back and undone, for which cgroup2 must have the controllers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from controlplane.link.amounts import Amount
from controlplane.link.records import Change, Effect, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, ActName, Rule, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.loop_device import LoopDevice, loop_device
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]
BRIEF_NS = 200_000_000
MIB = 1 << 20


def needs(cgroup: TestCgroup, *files: str) -> None:
    for file in files:
        if not (cgroup.directory / file).exists():
            pytest.skip(
                f"no {file}: the controller {file.partition('.')[0]} is not in this cgroup2 hierarchy"
            )


@pytest.fixture
def disk() -> Iterator[LoopDevice]:
    with loop_device() as device:
        yield device


def limiting(cgroup: TestCgroup, act: ActName, *amounts: Amount) -> Rule:
    """One reflex, however slowly a machine forks: another would share what is set."""
    step = Step(act, for_ns=BRIEF_NS, amounts=amounts)
    return fork_rule(cgroup, step, cooldown_ns=60 * NS)


@pytest.mark.parametrize(
    ("act", "amounts", "change"),
    [
        ("limit-cpu", [Amount("max", 5000)], Change("cpu.max", "max 100000", "50000 100000")),
        ("limit-cpu", [Amount("max", 15_000)], Change("cpu.max", "max 100000", "150000 100000")),
        (
            "limit-memory",
            [Amount("max", 64 * MIB + 5000)],
            Change("memory.high", "max", str(64 * MIB + 4096)),
        ),
        ("limit-pids", [Amount("max", 100)], Change("pids.max", "max", "100")),
    ],
)
def test_a_limit_is_set_confirmed_and_undone(
    turn: Turn, controlled: TestCgroup, act: ActName, amounts: Sequence[Amount], change: Change
) -> None:
    needs(controlled, change.what)
    turned = turn(limiting(controlled, act, *amounts))
    fork_in(controlled.run(*FORKER), 5)
    effect = turned.await_record(Effect)
    assert controlled.read(change.what) == change.after
    assert (effect.act, turned.of(Intent)[0].changes) == (act, (change,))
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "")
    assert controlled.read(change.what) == change.before


@pytest.mark.parametrize(
    ("act", "amount", "file"),
    [
        ("limit-memory", Amount("max", 15_000, "share"), "memory.high"),
        ("limit-pids", Amount("more", 10), "pids.max"),
    ],
)
def test_a_limit_relative_to_what_is_used(
    turn: Turn, controlled: TestCgroup, act: ActName, amount: Amount, file: str
) -> None:
    needs(controlled, file)
    turned = turn(limiting(controlled, act, amount))
    fork_in(controlled.run(*FORKER), 5)
    turned.await_record(Effect)
    used = int(controlled.read("memory.current" if act == "limit-memory" else "pids.current"))
    least, most = (used // 2, 4 * used) if act == "limit-memory" else (used + 8, used + 11)
    assert least < int(controlled.read(file)) <= most
    assert turned.await_record(Undo).error == ""
    assert controlled.read(file) == "max"


def test_a_limit_that_is_stricter_already_stays(turn: Turn, controlled: TestCgroup) -> None:
    needs(controlled, "cpu.max")
    (controlled.directory / "cpu.max").write_text("10000 50000")
    turned = turn(limiting(controlled, "limit-cpu", Amount("max", 5000)))
    fork_in(controlled.run(*FORKER), 5)
    undo = turned.await_record(Undo)
    assert (undo.ok, controlled.read("cpu.max")) == (True, "10000 50000")


def test_a_limit_that_somebody_else_set_meanwhile_is_left(turn: Turn, controlled: TestCgroup) -> None:
    needs(controlled, "pids.max")
    turned = turn(limiting(controlled, "limit-pids", Amount("max", 100)))
    fork_in(controlled.run(*FORKER), 5)
    turned.await_record(Effect)
    (controlled.directory / "pids.max").write_text("77")
    assert turned.await_record(Undo).error == "foreign"
    assert controlled.read("pids.max") == "77"


def test_after_a_crash_limits_are_lifted(turn: Turn, controlled: TestCgroup, tmp_path: Path) -> None:
    needs(controlled, "cpu.max")
    (controlled.directory / "cpu.max").write_text("50000 100000")
    change = Change("cpu.max", "max 100000", "50000 100000")
    leave_journal(tmp_path, intent_on(controlled, act="limit-cpu", changes=(change,)))
    assert [(undo.ok, undo.error) for undo in turn().of(Undo)] == [(True, "")]
    assert controlled.read("cpu.max") == "max 100000"


def test_disks_that_the_cgroup_uses_are_limited(turn: Turn, controlled: TestCgroup, disk: LoopDevice) -> None:
    needs(controlled, "io.max")
    number = f"{disk.major}:{disk.minor}"
    controlled.run("dd", f"if={disk.path}", "of=/dev/null", "bs=4k", "count=4", "iflag=direct").wait()
    turned = turn(limiting(controlled, "limit-io", Amount("read", MIB), Amount("write", 2 * MIB)))
    fork_in(controlled.run(*FORKER), 5)
    turned.await_record(Effect)
    limited = f"{number} rbps={MIB} wbps={2 * MIB} riops=max wiops=max"
    assert limited in controlled.read("io.max").split("\n")
    unlimited = f"{number} rbps=max wbps=max riops=max wiops=max"
    assert Change(f"io.max {number}", unlimited, limited) in turned.of(Intent)[0].changes
    assert turned.await_record(Undo).error == ""
    assert controlled.read("io.max") == ""


def test_without_the_controller_a_limit_is_refused_and_told(turn: Turn, cgroup: TestCgroup) -> None:
    if (cgroup.directory / "pids.max").exists():
        pytest.skip("the controller pids is enabled for every cgroup here")
    turned = turn(limiting(cgroup, "limit-pids", Amount("max", 100)))
    fork_in(cgroup.run(*FORKER), 5)
    assert "pids.max" in turned.await_record(GuardRefused).detail
    assert not turned.of(Outcome)
