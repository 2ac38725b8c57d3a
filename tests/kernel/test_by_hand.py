"""Acts that people ask for, on the running kernel: as in a reflex, with no test before and every guard."""

import os
import signal
import time
from collections.abc import Callable

import msgspec
import pytest

from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.reflex.by_hand import Trace
from controlplane.arc.triggering import MAX_ACTS
from controlplane.link.frames import COMMANDS, ENCODER, Done, Refused, Result, Trigger, Triggered, UndoActs
from controlplane.link.hooks import Hook
from controlplane.link.records import Change, Effect, Finding, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, await_until

Turn = Callable[..., Turned]
BRIEF_NS = 200_000_000
FREEZE = Step("freeze", for_ns=60 * NS)
TRACE, PARENT = b"T" * 16, b"P" * 8


def ask(turned: Turned, step: Step, **changes: object) -> Result:
    """As a frame of the link."""
    command = msgspec.structs.replace(Trigger(id=1, step=step, actor="somebody"), **changes)
    return turned.arc._commands.answer(COMMANDS.decode(ENCODER.encode(command)))


def begun(answer: Result) -> Triggered:
    assert isinstance(answer, Triggered), answer
    return answer


def refused(answer: Result) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def populated(cgroup: TestCgroup) -> int:
    """Somebody to act on; its pid."""
    process = cgroup.run(*FORKER)
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    return process.pid


@pytest.mark.parametrize("mode", ["observe", "enforce", "off"])
def test_a_cgroup_is_frozen_and_thawed(turn: Turn, cgroup: TestCgroup, mode: str) -> None:
    """The mode is one of policies."""
    turned = turn(mode=mode)
    populated(cgroup)
    answer = begun(ask(turned, Step("freeze", for_ns=BRIEF_NS), path=cgroup.path))
    assert (answer.path, answer.cgroup, answer.changes) == (
        *(cgroup.path, cgroup.id),
        (Change("cgroup.freeze", "0", "1"),),
    )
    turned.await_record(Effect)
    assert cgroup.frozen
    undo = turned.await_record(Undo)
    assert (undo.reason, undo.ok, undo.rule, undo.trace_id) == ("timer", True, "by hand", answer.trace_id)
    intent, outcome = turned.of(Intent)[0], turned.of(Outcome)[0]
    assert (intent.actor, intent.mode, outcome.ok) == ("somebody", "enforce", True)
    assert not turned.of(Finding)
    latency = turned.arc.status().latency
    assert latency is None or not sum(latency.counts)


def test_the_callers_trace_is_carried_on(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    populated(cgroup)
    answer = begun(ask(turned, FREEZE, path=cgroup.path, trace_id=TRACE, parent_id=PARENT, trace_flags=0))
    turned.await_record(Effect)
    intent = turned.of(Intent)[0]
    assert (answer.trace_id, intent.trace_id, intent.parent_id) == (TRACE, TRACE, PARENT)
    done = turned.arc._commands.answer(UndoActs(id=2, trace_id=TRACE, actor="another"))
    assert isinstance(done, Done)
    assert (done.changed, turned.of(Undo)[0].actor, cgroup.read("cgroup.freeze")) == (1, "another", "0")
    story = [*turned.of(Intent), *turned.of(Outcome), *turned.of(Effect), *turned.of(Undo)]
    assert [(one.trace_id, one.trace_flags) for one in story] == [(TRACE, 0)] * 4


def test_dry_nothing_is_written_and_nothing_told(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    pid = populated(cgroup)
    before = len(turned.records())
    frozen = begun(ask(turned, FREEZE, path=cgroup.path, dry_run=True))
    stopped = begun(ask(turned, FREEZE, pid=pid, dry_run=True))
    killed = begun(ask(turned, Step("kill"), pid=pid, dry_run=True))
    assert [answer.trace_id for answer in (frozen, stopped, killed)] == [b""] * 3
    assert (frozen.changes, stopped.changes, killed.changes) == (
        *((Change("cgroup.freeze", "0", "1"),), (Change("stopped", "0", "1"),)),
        (),
    )
    turned.arc._settle(0)
    assert (len(turned.records()), cgroup.read("cgroup.freeze")) == (before, "0")
    assert turned.arc._reaper.tallied() == Reaper().tallied()


def test_a_process_is_killed_and_its_end_seen(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    populated(cgroup)
    other = cgroup.run(*FORKER)
    await_until(lambda: str(other.pid) in cgroup.read("cgroup.procs"), 10)
    assert begun(ask(turned, Step("kill"), pid=other.pid)).comm == "sh"
    effect = turned.await_record(Effect)
    assert (effect.act, other.wait(5)) == ("kill", -signal.SIGKILL)
    assert len(cgroup.read("cgroup.procs").split()) == 1


def test_a_process_gets_its_grace(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    pid = populated(cgroup)
    ask(turned, Step("kill", grace_ns=30 * NS), pid=pid)
    turned.await_record(Effect)
    assert cgroup.started[0].wait(5) == -signal.SIGTERM
    assert turned.arc.engine.next_due() == 0


def test_a_process_that_has_anothers_pid_is_not_found(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    pid = populated(cgroup)
    start_ns = must_start_ticks(pid) * TICK_NS
    assert refused(ask(turned, FREEZE, pid=pid, start_ns=start_ns + TICK_NS)).reason == "not_found"
    assert begun(ask(turned, FREEZE, pid=pid, start_ns=start_ns + 1)).pid == pid


def test_who_is_protected_stays_so(turn: Turn) -> None:
    turned = turn()
    for target in ({"pid": 1}, {"pid": os.getpid()}):
        dry = begun(ask(turned, FREEZE, dry_run=True, **target))
        assert dry.guard == "protected"
        assert "guard protected" in refused(ask(turned, FREEZE, **target)).message
        assert refused(ask(turned, Step("kill"), **target)).reason == "forbidden"
    path = turned.arc._cgroups.of_process(os.getpid()) or "/"
    if path != "/":
        assert refused(ask(turned, FREEZE, path=path)).reason == "forbidden"
    assert not turned.of(Outcome)


def test_the_breaker_counts_what_people_kill(turn: Turn, make_cgroup: Callable[[], TestCgroup]) -> None:
    turned = turn(breaker_acts=1)
    first, second = make_cgroup(), make_cgroup()
    populated(first)
    populated(second)
    begun(ask(turned, Step("kill"), path=first.path))
    assert begun(ask(turned, Step("kill"), path=second.path, dry_run=True)).guard == "breaker"
    assert "breaker" in refused(ask(turned, Step("kill"), path=second.path)).message
    assert second.started[0].poll() is None


def test_reloaded_policies_leave_it_in_force(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    populated(cgroup)
    ask(turned, FREEZE, path=cgroup.path)
    turned.arc._put_rules_in_force()
    assert not turned.of(Undo)
    turned.stop()
    assert [undo.reason for undo in turned.of(Undo)] == ["stop"]


def test_no_more_than_so_many_at_once(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    populated(cgroup)
    answers = [ask(turned, FREEZE, path=cgroup.path) for _ in range(MAX_ACTS + 1)]
    assert [isinstance(answer, Triggered) for answer in answers] == [True] * MAX_ACTS + [False]
    assert refused(answers[-1]).reason == "busy"


def test_evidence_by_hand(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    populated(cgroup)
    begun(ask(turned, Step("evidence"), path=cgroup.path))
    assert turned.await_record(Outcome).ok


@pytest.mark.parametrize(
    ("step", "changes", "reason"),
    [
        (FREEZE, {"path": "/nowhere"}, "not_found"),
        (FREEZE, {"path": "/.."}, "invalid"),
        (FREEZE, {"path": "/../../proc/1"}, "invalid"),
        (FREEZE, {"path": "system.slice"}, "invalid"),
        (FREEZE, {"path": "/a\0b"}, "invalid"),
        (FREEZE, {"path": "/" + "x" * 5000}, "invalid"),
        (FREEZE, {"path": "/"}, "invalid"),
        (FREEZE, {"pid": -1}, "invalid"),
        (FREEZE, {"pid": 1 << 40}, "invalid"),
        (FREEZE, {"pid": 4_194_303}, "not_found"),
        (FREEZE, {}, "invalid"),
        (FREEZE, {"path": "/a", "pid": 1}, "invalid"),
        (FREEZE, {"path": "/a", "trace_id": b"short"}, "invalid"),
        (FREEZE, {"path": "/a", "parent_id": b"short"}, "invalid"),
        (Step("freeze"), {"path": "/a"}, "invalid"),
        (Step("freeze", for_ns=1, after_ns=1), {"path": "/a"}, "invalid"),
        (Step("observe"), {"path": "/a"}, "invalid"),
        (Step("hook", hook=Hook(("/bin/true",))), {"path": "/a"}, "invalid"),
        (Step("freeze", for_ns=1, hook=Hook(("/bin/true",))), {"path": "/a"}, "invalid"),
        (Step("limit-cpu", for_ns=1), {"pid": 1}, "invalid"),
    ],
)
def test_what_makes_no_sense(turn: Turn, step: Step, changes: dict[str, object], reason: str) -> None:
    assert refused(ask(turn(), step, **changes)).reason == reason


def test_who_is_gone_meanwhile_is_told_of(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn()
    victim = turned.arc._commands._triggering._cgroup(cgroup.path)
    assert victim is not None
    cgroup.remove()
    turned.arc._commands._triggering._by_hand.act(victim, FREEZE, "somebody", Trace(TRACE, PARENT, 1))
    assert [(one.guard, one.trace_id) for one in turned.of(GuardRefused)] == [("gone", TRACE)]
    assert time.monotonic_ns() > turned.of(GuardRefused)[0].time_ns
