"""`reflexarc policies`."""

import json

import msgspec
import pytest

from controlplane.link.rules import NS, Confirm, Level, Rate, Rule, Step
from tests.unit.cli.conftest import Ask
from tests.unit.plane.served import Served


@pytest.fixture(autouse=True)
def policies(plane: Served) -> None:
    ladder = (Step("freeze", for_ns=10 * NS), Step("kill", after_ns=5 * NS))
    plane.responder.rules = {
        "storm": Rule(name="storm", signal="process.fork", test=Rate(2_000_000, 64), ladder=ladder)
    }


def test_for_people(ask: Ask) -> None:
    _, row = ask("policies").out.splitlines()
    assert row.startswith("storm   observe")
    assert "> 500/s, burst 64  freeze for 10s, kill after 5s  api   armed" in row


@pytest.mark.parametrize(
    ("confirm", "words"),
    [
        (Confirm("psi.memory", Level(2000)), "kill only if psi.memory > 20 % within 10s"),
        (
            Confirm("process.exec", Rate(10_000_000, 10), 60 * NS),
            "kill only if process.exec > 100/s, burst 10 within 1m",
        ),
    ],
)
def test_what_must_confirm_is_shown(ask: Ask, plane: Served, confirm: Confirm, words: str) -> None:
    plane.responder.rules["storm"] = msgspec.structs.replace(plane.responder.rules["storm"], confirm=confirm)
    _, row = ask("policies").out.splitlines()
    assert f"freeze for 10s, kill after 5s; {words}  api" in row
    (status,) = json.loads(ask("policies", "--json").out)["policies"]
    assert status["policy"]["confirmation"]["signal"] == confirm.signal


def test_for_machines(ask: Ask) -> None:
    (status,) = json.loads(ask("policies", "--json").out)["policies"]
    assert status["policy"]["rate"] == {"interval_ns": 2_000_000, "burst": 64}
    assert "level" not in status["policy"]


def test_delete(ask: Ask, plane: Served) -> None:
    assert ask("policies", "--delete", "storm").out == "storm is out of force\n"
    assert plane.responder.rules == {}


def test_delete_of_what_is_not_there(ask: Ask) -> None:
    said = ask("policies", "--delete", "calm", "--json")
    assert said.exit == 1
    assert "no policy is called calm" in said.err
