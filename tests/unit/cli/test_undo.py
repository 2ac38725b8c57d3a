"""`reflexarc undo`."""

import json

import pytest

from controlplane.link import frames
from tests.unit.cli.conftest import Ask
from tests.unit.plane import told
from tests.unit.plane.served import Served


def test_one_reflex(ask: Ask, plane: Served) -> None:
    assert ask("undo", told.TRACE.hex()).out == "1 undone\n"
    command = plane.responder.commands[-1]
    assert isinstance(command, frames.UndoActs)
    assert command.trace_id == told.TRACE


def test_all_for_machines(ask: Ask) -> None:
    assert json.loads(ask("undo", "--all", "--json").out) == {"undone": 1}


def test_a_trace_that_is_none(ask: Ask, plane: Served) -> None:
    said = ask("undo", "nonsense")
    assert (said.exit, "32 lower-case hexadecimal digits" in said.err) == (1, True)
    assert plane.responder.commands == []


@pytest.mark.parametrize("words", [[], ["--all", "0" * 32]], ids=["neither", "both"])
def test_what_must_be_said(ask: Ask, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ask("undo", *words)
    assert caught.value.code == 2
