"""Names are unique, shaped as OpenTelemetry asks, explained, and all that is told has one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.link.records import Record
from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.catalogue import ATTRIBUTES, EVENTS
from controlplane.plane.telemetry.describe import describe
from controlplane.plane.telemetry.events_page import page
from tests.plane.every import EVERY, LABELS

ROOT = Path(__file__).parents[4]
KINDS = {kind.name: kind for kind in EVENTS}
TYPES = {bool: "boolean", int: "int", float: "double", str: "string"}

NAMES = [
    value
    for name, value in vars(events).items()
    if name.isupper() and not name.startswith("SC") and name != "PREFIX"
]
OF_RESOURCE = {value for name, value in vars(events).items() if name.startswith(("SERVICE_", "HOST_", "OS_"))}


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES) > 40


def test_names_are_lower_case_and_dotted() -> None:
    assert all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name) for name in NAMES)


def test_every_name_is_explained() -> None:
    explained = [kind.name for kind in EVENTS] + [each.name for each in ATTRIBUTES]
    assert len(set(explained)) == len(explained)
    assert set(explained) == set(NAMES) - OF_RESOURCE


def test_attributes_of_events_are_explained_and_used() -> None:
    used = {name for kind in EVENTS for name in kind.attributes} | {events.LOG_RECORD_UID}
    assert used == {each.name for each in ATTRIBUTES}


def test_examples_are_of_their_type() -> None:
    assert all(TYPES[type(each.example)] == each.type for each in ATTRIBUTES)


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/events.md").read_text() == page(), "run `make events`"


@pytest.mark.parametrize("record", EVERY, ids=LABELS)
def test_what_is_told_is_in_the_catalogue(record: Record) -> None:
    event = describe(record, 0)
    kind = KINDS[event.name]
    types = {each.name: each.type for each in ATTRIBUTES}
    assert {name: TYPES[type(value)] for name, value in event.attributes.items()} == {
        name: types[name] for name in event.attributes if name in kind.attributes
    }
    assert event.severity.upper() in kind.severity or kind.severity.startswith("DEBUG to")


def test_every_attribute_of_a_reflex_is_told_by_some_record() -> None:
    """So that the table promises nothing that never comes."""
    told: dict[str, set[str]] = {}
    for record in EVERY:
        event = describe(record, 0)
        told.setdefault(event.name, set()).update(event.attributes)
    for kind in EVENTS:
        if kind.name not in (events.JOURNAL_DROPPED, events.JOURNAL_UNDECODABLE, events.DIAGNOSTIC):
            assert told[kind.name] == set(kind.attributes), kind.name


def notices() -> Iterator[tuple[str, set[str]]]:
    """Names of notices in the arc's sources, and of their attributes."""
    for path in (ROOT / "controlplane/arc").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                of_rules = call.func.attr in ("_rules_changed", "_changed")
                if (of_rules or call.func.attr == "_notice") and isinstance(call.args[0], ast.Constant):
                    given = {word.arg or "" for word in call.keywords}
                    yield str(call.args[0].value), given | ({"actor"} if of_rules else set())


def test_notices_of_the_arc_are_in_the_catalogue() -> None:
    found = dict(notices())
    assert len(found) > 10
    for name, attributes in found.items():
        assert events.PREFIX + name in KINDS, f"add {name} to events.py and catalogue.py, run `make events`"
        named = {events.PREFIX + attribute for attribute in attributes}
        assert named - {events.ACTOR} <= set(KINDS[events.PREFIX + name].attributes), name
