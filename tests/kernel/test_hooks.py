"""Programs that policies run, on the running kernel: as nobody, for a time, undone by a second one."""

import io
import json
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from controlplane.arc.reflex import jobs
from controlplane.link.frames import ApplyRule, Refused
from controlplane.link.hooks import Hook
from controlplane.link.records import Change, GuardRefused, Outcome, Undo
from controlplane.link.rules import NS, Rate, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]
BRIEF_NS = 200_000_000
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where anybody may write; pytest's own folder is closed to others."""
    with tempfile.TemporaryDirectory(prefix="reflexarc-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def shell(script: str, *arguments: object) -> tuple[str, ...]:
    return "/bin/sh", "-c", script, "sh", *map(str, arguments)


def provoke(turn: Turn, cgroup: TestCgroup, hook: Hook, for_ns: int = 0, **changes: object) -> Turned:
    """An arc that runs the hook, and what makes it do so."""
    step = Step("hook", for_ns=for_ns, hook=hook)
    turned = turn(fork_rule(cgroup, step, cooldown_ns=60 * NS), **changes)
    fork_in(cgroup.run(*FORKER), 5)
    return turned


def test_a_program_is_told_the_finding_and_has_no_privilege(
    turn: Turn, cgroup: TestCgroup, folder: Path
) -> None:
    script = 'cat >"$1/told"; env >"$1/env"; cat /proc/self/status >"$1/status"; ls -l /proc/self/fd >"$1/fd"'
    turned = provoke(turn, cgroup, Hook(shell(script, folder)))
    outcome = turned.await_record(Outcome)
    assert (outcome.act, outcome.ok, outcome.error) == ("hook", True, "")
    assert outcome.detail.startswith("act: exit 0 after ")
    told = json.loads((folder / "told").read_text())
    assert (told["purpose"], told["policy"], told["trace_id"]) == (
        "act",
        "test-forks",
        outcome.trace_id.hex(),
    )
    assert told["victim"]["path"] == told["finding"]["path"] == cgroup.path
    assert told["finding"]["signal"] == "process.fork"
    environment = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    assert environment.keys() <= {"PATH", "PWD", "_", "SHLVL", "OLDPWD", "TRACEPARENT"}
    assert environment["TRACEPARENT"].startswith(f"00-{outcome.trace_id.hex()}-")
    status = dict(
        line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
    )
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert set(status["Uid"].split()) == {str(NOBODY)}
    assert status["NoNewPrivs"] == "1"
    assert (folder / "told").stat().st_uid == NOBODY
    assert "socket" not in (folder / "fd").read_text()


def test_what_it_complains_of_and_how_it_ends_is_told(turn: Turn, cgroup: TestCgroup) -> None:
    turned = provoke(turn, cgroup, Hook(shell("echo no such ticket queue >&2; exit 3")))
    outcome = turned.await_record(Outcome)
    assert (outcome.ok, outcome.error) == (False, "exit 3")
    assert outcome.detail.endswith("ms: no such ticket queue")


def test_much_complaint_neither_blocks_it_nor_fills_anything(turn: Turn, cgroup: TestCgroup) -> None:
    turned = provoke(turn, cgroup, Hook(shell("head -c 3000000 /dev/zero | tr '\\0' x >&2")))
    outcome = turned.await_record(Outcome)
    assert (outcome.ok, len(outcome.detail) < 600) == (True, True)


def test_a_program_that_is_not_there(turn: Turn, cgroup: TestCgroup) -> None:
    outcome = provoke(turn, cgroup, Hook(("/nowhere/tell",))).await_record(Outcome)
    assert (outcome.error, "No such file" in outcome.detail) == ("exit 127", True)


def test_an_account_that_is_not_there(turn: Turn, cgroup: TestCgroup) -> None:
    outcome = provoke(turn, cgroup, Hook(("/bin/true",), user="no-such-account")).await_record(Outcome)
    assert outcome.error == "there is no account 'no-such-account'"


ESCAPED = """(setsid sh -c 'echo $$ >"$0/pid"; exec sleep 60' "$1" >/dev/null 2>&1 &)"""
"""In a session of its own, and its parent is gone."""


def test_a_program_that_takes_too_long_is_killed_with_all_it_started(
    turn: Turn, cgroup: TestCgroup, folder: Path
) -> None:
    script = f"{ESCAPED}; sleep 60 & setsid sleep 60 & sleep 60"
    turned = provoke(turn, cgroup, Hook(shell(script, folder), timeout_ns=5 * BRIEF_NS))
    outcome = turned.await_record(Outcome)
    assert (outcome.ok, outcome.error) == (False, "out of time")
    assert not Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists()


def test_what_it_leaves_behind_is_killed(turn: Turn, cgroup: TestCgroup, folder: Path) -> None:
    script = f'{ESCAPED}; while ! test -s "$1/pid"; do :; done'
    turned = provoke(turn, cgroup, Hook(shell(script, folder)))
    assert turned.await_record(Outcome).ok
    assert not Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists()


def test_it_is_undone_by_its_second_program_when_its_time_is_over(
    turn: Turn, cgroup: TestCgroup, folder: Path
) -> None:
    flag = folder / "flag"
    hook = Hook(shell('touch "$1"', flag), shell('cat >"$1.undo"; rm "$1"', flag))
    turned = provoke(turn, cgroup, hook, for_ns=2 * BRIEF_NS)
    outcome = turned.await_record(Outcome)
    assert flag.exists()
    undo = turned.await_record(Undo)
    assert (undo.act, undo.reason, undo.ok, undo.error) == ("hook", "timer", True, "")
    assert not flag.exists()
    assert undo.time_ns - outcome.time_ns >= BRIEF_NS
    told = json.loads(Path(f"{flag}.undo").read_text())
    assert (told["purpose"], told["finding"], told["victim"]["path"]) == ("undo", None, cgroup.path)


def test_a_program_that_fails_is_undone_at_once(turn: Turn, cgroup: TestCgroup, folder: Path) -> None:
    flag = folder / "flag"
    hook = Hook(shell('touch "$1"; exit 1', flag), shell('rm "$1"', flag))
    undo = provoke(turn, cgroup, hook, for_ns=60 * NS).await_record(Undo)
    assert (undo.reason, undo.ok, flag.exists()) == ("failed", True, False)


def test_an_undo_that_fails_is_told(turn: Turn, cgroup: TestCgroup) -> None:
    hook = Hook(("/bin/true",), shell("echo gone >&2; exit 9"))
    undo = provoke(turn, cgroup, hook, for_ns=BRIEF_NS).await_record(Undo)
    assert (undo.ok, undo.error.startswith("undo: exit 9 after "), undo.error.endswith(": gone")) == (
        *(False, True, True),
    )


def test_a_stop_undoes_it(turn: Turn, cgroup: TestCgroup, folder: Path) -> None:
    flag = folder / "flag"
    hook = Hook(shell('touch "$1"', flag), shell('rm "$1"', flag))
    turned = provoke(turn, cgroup, hook, for_ns=60 * NS)
    turned.await_record(Outcome)
    turned.stop()
    assert [(undo.reason, undo.ok) for undo in turned.of(Undo)] == [("stop", True)]
    assert not flag.exists()


def open_fifo(path: str) -> io.FileIO:
    """Both ends are the test's, so that nobody waits for the other one to come."""
    os.mkfifo(path)
    Path(path).chmod(0o666)
    return io.FileIO(os.open(path, os.O_RDWR | os.O_NONBLOCK), "r+")


def test_when_the_policy_goes_it_is_undone_even_while_it_runs(
    turn: Turn, cgroup: TestCgroup, folder: Path
) -> None:
    flag = folder / "flag"
    script = 'touch "$1"; echo >"$1.began"; read -r line <"$1.go"'
    hook = Hook(shell(script, flag), shell('rm "$1"', flag), timeout_ns=60 * NS)
    with open_fifo(f"{flag}.began") as began, open_fifo(f"{flag}.go") as go:
        turned = provoke(turn, cgroup, hook, for_ns=60 * NS)
        turned.arc.loop.add(began.fileno(), lambda: None)
        turned.turn_until(flag.exists)
        turned.arc.loop.remove(began.fileno())
        turned.arc._book.delete("test-forks")
        turned.arc._put_rules_in_force()
        go.write(b"\n")
        undo = turned.await_record(Undo)
    assert (undo.reason, undo.ok, flag.exists()) == ("policy", True, False)


def test_after_a_crash_it_is_undone_by_what_the_policy_says(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path, folder: Path
) -> None:
    flag = folder / "flag"
    flag.touch(mode=0o666)
    change = (Change("run", "/bin/sh -c evil", "/bin/true"),)
    leave_journal(tmp_path, intent_on(cgroup, act="hook", rule="test-forks", changes=change))
    hook = Hook(("/bin/true",), shell('rm "$1"', flag))
    undo = turn(fork_rule(cgroup, Step("hook", for_ns=NS, hook=hook))).await_record(Undo)
    assert (undo.reason, undo.ok, flag.exists()) == ("restart", True, False)


def test_after_a_crash_without_its_policy_it_is_told_that_nothing_was_undone(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path
) -> None:
    change = (Change("run", "/bin/sh -c evil", "/bin/true"),)
    leave_journal(tmp_path, intent_on(cgroup, act="hook", changes=change))
    undo = turn().of(Undo)[0]
    assert (undo.ok, undo.error) == (False, "its policy has no such undo any more")


def has_ended(turned: Turned, number: int) -> bool:
    return len(turned.of(Outcome)) > number


def test_no_more_than_so_many_in_a_window(
    turn: Turn, cgroup: TestCgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer and for longer than in earnest, so that no slow machine sees the window's end."""
    monkeypatch.setattr(jobs, "HOOKS_A_WINDOW", 3)
    monkeypatch.setattr(jobs, "WINDOW_NS", 3600 * NS)
    every_fork = Rate(interval_ns=3600 * NS, burst=1)
    turned = turn(fork_rule(cgroup, Step("hook", hook=Hook(("/bin/true",))), test=every_fork))
    forker = cgroup.run(*FORKER)
    for number in range(jobs.HOOKS_A_WINDOW):
        fork_in(forker, 3)
        turned.turn_until(partial(has_ended, turned, number))
    fork_in(forker, 3)
    assert (turned.await_record(GuardRefused).act, turned.of(GuardRefused)[0].guard) == ("hook", "budget")


def test_nobody_on_the_link_can_have_a_program_run(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    rule = fork_rule(cgroup, Step("hook", hook=Hook(("/bin/true",))))
    answer = turned.arc._commands.answer(ApplyRule(id=1, rule=rule))
    assert isinstance(answer, Refused)
    assert answer.reason == "forbidden"
    assert not turned.arc._book.rules()
