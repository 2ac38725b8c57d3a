"""After a crash: the next arc takes back what a dead one left in force, and says so."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.reflex.acts import Freeze
from controlplane.arc.reflex.journal import Journal, boot_id
from controlplane.arc.reflex.recover import left_in_force
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change, Intent, Notice, Outcome, Record, Undo
from controlplane.link.rules import Step
from controlplane.link.segment import Header
from tests.kernel.conftest import TestCgroup, Turned

Turn = Callable[..., Turned]


def intent_on(cgroup: TestCgroup, number: int = 1, **changes: object) -> Intent:
    """A freeze of that cgroup."""
    values: dict[str, object] = {
        "time_ns": 1,
        "trace_id": b"t" * 16,
        "span_id": number.to_bytes(8, "little"),
        "parent_id": b"p" * 8,
        "rule": "dead",
        "step": 0,
        "act": "freeze",
        "cgroup": cgroup.id,
        "path": cgroup.path,
        "changes": (Change("cgroup.freeze", "0", "1"),),
        "mode": "enforce",
        "event_ns": 1,
        **changes,
    }
    return Intent(**values)  # type: ignore[arg-type]


def leave_journal(folder: Path, *records: Record) -> None:
    """What a predecessor wrote before it was killed."""
    directory = folder / "run" / "journal"
    directory.mkdir(parents=True)
    fd = os.open(directory, os.O_RDONLY)
    journal = Journal(fd, 1 << 20, 16, os.getgid(), tuple)
    for record in records:
        journal.must_append(record)
    os.close(fd)


def test_what_was_left_frozen_is_thawed_and_told(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    (cgroup.directory / "cgroup.freeze").write_text("1")
    leave_journal(tmp_path, intent_on(cgroup))
    turned = turn()
    assert cgroup.read("cgroup.freeze") == "0"
    undo = turned.of(Undo)[0]
    assert (undo.reason, undo.ok, undo.error, undo.path) == ("restart", True, "", cgroup.path)
    told = [notice for notice in turned.of(Notice) if notice.name == "arc.recovered"]
    assert told[0].attributes == {"undone": 1}


def test_recovery_happens_once(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    (cgroup.directory / "cgroup.freeze").write_text("1")
    leave_journal(tmp_path, intent_on(cgroup))
    turn().stop()
    (cgroup.directory / "cgroup.freeze").write_text("1")
    again = turn()
    assert cgroup.read("cgroup.freeze") == "1"
    assert len(again.of(Undo)) == 1


def test_a_value_that_somebody_else_changed_is_left(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    leave_journal(tmp_path, intent_on(cgroup))
    undo = turn().of(Undo)[0]
    assert (undo.ok, undo.error) == (True, "foreign")


def test_a_cgroup_that_is_gone_needs_no_undo(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    leave_journal(tmp_path, intent_on(cgroup))
    cgroup.remove()
    undo = turn().of(Undo)[0]
    assert (undo.ok, undo.error) == (True, "")


def test_two_that_held_one_victim_write_the_value_once(
    turn: Turn, cgroup: TestCgroup, tmp_path: Path
) -> None:
    (cgroup.directory / "cgroup.freeze").write_text("1")
    leave_journal(tmp_path, intent_on(cgroup, 1), intent_on(cgroup, 2))
    assert [undo.error for undo in turn().of(Undo)] == ["shared", ""]
    assert cgroup.read("cgroup.freeze") == "0"


def test_what_a_later_act_set_is_known_though_that_one_is_over(cgroup: TestCgroup) -> None:
    now = Header(1, 1, 0, 0, boot_id())
    first = intent_on(cgroup, 1, act="reweigh", changes=(Change("cpu.weight", "100", "50"),))
    second = intent_on(cgroup, 2, act="reweigh", changes=(Change("cpu.weight", "100", "10"),))
    undo = Undo(
        time_ns=2,
        trace_id=second.trace_id,
        span_id=b"u" * 8,
        parent_id=second.span_id,
        rule="dead",
        act="reweigh",
        cgroup=cgroup.id,
        path=cgroup.path,
        reason="timer",
        ok=True,
        error="shared",
        event_ns=1,
    )
    (left,) = left_in_force([(now, first), (now, second), (now, undo)])
    assert left.changes == (Change("cpu.weight", "100", "10"),)


@pytest.mark.parametrize(
    ("changes", "left"),
    [({}, 1), ({"mode": "observe"}, 0), ({"act": "kill"}, 0), ({"carried": True}, 1)],
)
def test_only_reversible_acts_that_were_done_are_left(
    cgroup: TestCgroup, changes: dict[str, object], left: int
) -> None:
    header = Header(1, 1, 0, 0, boot_id())
    assert len(left_in_force([(header, intent_on(cgroup, 1, **changes))])) == left


def test_failed_undone_and_other_boots_are_not_left(cgroup: TestCgroup) -> None:
    now, before = Header(1, 1, 0, 0, boot_id()), Header(1, 1, 0, 0, bytes(16))
    intent = intent_on(cgroup)
    common = {"time_ns": 2, "trace_id": intent.trace_id, "rule": "dead", "act": "freeze", "event_ns": 1}
    failed = Outcome(**common, span_id=intent.span_id, ok=False, decided_ns=1)  # type: ignore[arg-type]
    undo = Undo(
        **common,  # type: ignore[arg-type]
        span_id=b"u" * 8,
        parent_id=intent.span_id,
        cgroup=cgroup.id,
        path=cgroup.path,
        reason="timer",
        ok=True,
    )
    assert left_in_force([(now, intent), (now, failed)]) == []
    assert left_in_force([(now, intent), (now, undo)]) == []
    assert left_in_force([(before, intent)]) == []


def test_an_undo_leaves_what_was_frozen_before(cgroup: TestCgroup, mount: Path) -> None:
    freeze = Freeze(Cgroups(str(mount)))
    (cgroup.directory / "cgroup.freeze").write_text("1")
    victim = Victim(cgroup.id, cgroup.path)
    opened = freeze.must_open(victim, Step("freeze"))
    assert opened.changes[0].before == "1"
    freeze.undo(victim, opened.changes)
    assert cgroup.read("cgroup.freeze") == "1"
