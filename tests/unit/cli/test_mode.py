"""`reflexarc mode`."""

import json

from controlplane.link import frames
from controlplane.link.rules import Rate, Rule
from tests.unit.cli.conftest import Ask
from tests.unit.plane.served import Served


def test_set_and_tell(ask: Ask, plane: Served) -> None:
    assert ask("mode").out == "observe\n"
    assert ask("mode", "enforce").out == "enforce\n"
    assert plane.responder.status.mode == "enforce"
    assert json.loads(ask("mode", "--json").out) == {"mode": "enforce", "policy": ""}


def test_of_one_policy(ask: Ask, plane: Served) -> None:
    plane.responder.rules = {"storm": Rule(name="storm", signal="process.fork", test=Rate(1, 1), mode="off")}
    assert ask("mode", "--policy", "storm").out == "storm: off\n"
    ask("mode", "observe", "--policy", "storm")
    command = plane.responder.commands[-1]
    assert isinstance(command, frames.SetMode)
    assert (command.mode, command.rule) == ("observe", "storm")


def test_of_a_policy_that_is_not_there(ask: Ask) -> None:
    said = ask("mode", "--policy", "nothing")
    assert (said.exit, "no policy is called nothing" in said.err) == (1, True)
