"""What a benchmark says of a journal: nothing of a true one, and each way in which one can be false."""

import pytest

from controlplane.link.records import Change, Intent, Outcome, Record, Undo
from tests.bench.consistency import Entry, problems

COMMON = {"trace_id": b"t" * 16, "rule": "r", "act": "freeze", "event_ns": 1}
PLACE = {"cgroup": 7, "path": "/a"}


def intent(**changes: object) -> Intent:
    set_to = (Change("cgroup.freeze", "0", "1"),)
    given: dict[str, object] = {**COMMON, **PLACE, "time_ns": 2, "changes": set_to, **changes}
    return Intent(span_id=b"s" * 8, parent_id=b"p" * 8, step=0, mode="enforce", **given)  # type: ignore[arg-type]


def outcome(**changes: object) -> Outcome:
    given: dict[str, object] = {**COMMON, "time_ns": 3, "ok": True, **changes}
    return Outcome(span_id=b"s" * 8, decided_ns=1, **given)  # type: ignore[arg-type]


def undo(**changes: object) -> Undo:
    given: dict[str, object] = {**COMMON, **PLACE, "time_ns": 4, "ok": True, **changes}
    return Undo(span_id=b"u" * 8, parent_id=b"s" * 8, reason="timer", **given)  # type: ignore[arg-type]


def told(*records: Record) -> list[Entry]:
    return [((1, index), record) for index, record in enumerate(records)]


@pytest.mark.parametrize(
    "records",
    [
        [intent(), outcome(), undo()],
        [intent(), outcome(ok=False)],
        [intent(act="kill", changes=()), outcome(act="kill")],
        [intent(), intent(carried=True), undo()],
    ],
    ids=["done and undone", "failed", "irreversible", "cut off, carried over and undone"],
)
def test_nothing_is_said_of_a_true_one(records: list[Record]) -> None:
    assert not list(problems(told(*records)))


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([intent(), outcome()], "freeze of /a has 0 undos instead of 1"),
        ([intent(), undo(), undo()], "freeze of /a has 2 undos instead of 1"),
        ([intent(), outcome(), undo(ok=False, error="EIO")], "freeze of /a was not undone: EIO"),
        ([intent(), outcome(time_ns=1), undo()], "freeze of /a was over before it began"),
        ([outcome()], "an outcome without its intent"),
    ],
)
def test_what_cannot_be_is_said(records: list[Record], problem: str) -> None:
    assert list(problems(told(*records))) == [problem]


def test_a_record_that_is_missing_is_noticed() -> None:
    entries = told(intent(), outcome(), undo(), outcome())
    del entries[1]
    assert list(problems(entries)) == ["records before 2 are missing"]
