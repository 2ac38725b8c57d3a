"""`reflexarc breaker`."""

import json

import msgspec
import pytest

from controlplane.link import frames
from tests.unit.cli.conftest import Ask
from tests.unit.plane.served import Served


def opened(plane: Served, *names: str) -> None:
    plane.responder.status = msgspec.structs.replace(plane.responder.status, breaker_open=names)


def test_those_that_are_open(ask: Ask, plane: Served) -> None:
    assert ask("breaker").out == "none is open\n"
    opened(plane, "", "storm")
    assert ask("breaker").out == "node\nstorm\n"
    assert json.loads(ask("breaker", "--json").out) == {"open": ["node", "storm"]}


def test_close_one(ask: Ask, plane: Served) -> None:
    opened(plane, "storm")
    assert ask("breaker", "close", "storm").out == "the breaker of storm is closed\n"
    command = next(one for one in plane.responder.commands if isinstance(one, frames.CloseBreaker))
    assert command.rule == "storm"
    assert ask("breaker").out == "none is open\n"


def test_close_that_of_the_node(ask: Ask, plane: Served) -> None:
    opened(plane, "")
    assert ask("breaker", "close", "--node").out == "the breaker of the node is closed\n"
    assert json.loads(ask("breaker", "--json").out) == {"open": []}


def test_one_that_is_not_open(ask: Ask) -> None:
    said = ask("breaker", "close", "storm")
    assert (said.exit, "it is not open" in said.err) == (1, True)


@pytest.mark.parametrize("words", [["close"], ["close", "storm", "--node"], ["--node"]])
def test_whose_must_be_said(ask: Ask, plane: Served, words: list[str]) -> None:
    said = ask("breaker", *words)
    assert (said.exit, "say whose breaker to close" in said.err) == (2, True)
    assert plane.responder.commands == []
