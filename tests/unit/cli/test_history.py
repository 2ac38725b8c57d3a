"""`reflexarc history`."""

import json

from tests.unit.cli.conftest import Ask
from tests.unit.plane import told
from tests.unit.plane.served import Served

OTHER = bytes([7] * 16)


def test_a_reflex_from_event_to_undo_in_microseconds(ask: Ask, plane: Served) -> None:
    plane.feed(*told.reflex())
    head, *rows = ask("history").out.splitlines()
    assert head.endswith(f"fork-storm  trace {told.TRACE.hex()}")
    assert [row.split(" us ")[0].strip() for row in rows] == [
        "0.0",
        "41.0",
        "45.0",
        "55.0",
        "80.0",
        "10,000,000.0",
    ]
    assert [row.split()[2] for row in rows] == ["event", "decision", "intent", "returned", "effect", "undo"]


def test_the_newest_last_and_no_more_than_asked_for(ask: Ask, plane: Served) -> None:
    plane.feed(told.finding(bytes(16)), told.finding(), told.finding(OTHER))
    reflexes = json.loads(ask("history", "--json", "--limit", "2").out)["reflexes"]
    assert [reflex["trace_id"] for reflex in reflexes] == [told.TRACE.hex(), OTHER.hex()]


def test_one_reflex_for_machines(ask: Ask, plane: Served) -> None:
    plane.feed(*told.reflex(), told.finding(OTHER))
    (reflex,) = json.loads(ask("history", "--json", told.TRACE.hex()).out)["reflexes"]
    assert reflex["finding"]["decided_after_ns"] == 41_000
    assert [(step["kind"], step["since_event_ns"]) for step in reflex["steps"]][:2] == [
        ("intent", 45_000),
        ("outcome", 55_000),
    ]


def test_nothing_yet(ask: Ask) -> None:
    assert ask("history").out == "no reflex yet\n"
    assert ask("history", "0" * 32).exit == 1
