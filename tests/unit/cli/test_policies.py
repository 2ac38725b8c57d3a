"""`reflexarc policies`."""

import json

import msgspec
import pytest

from controlplane.link.amounts import BEST_EFFORT, IDLE, Amount
from controlplane.link.frames import BudgetStatus
from controlplane.link.rules import (
    NS,
    Betting,
    Confirm,
    Level,
    Poisson,
    Pressure,
    Rare,
    Rate,
    Rule,
    Step,
    Test,
)
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
    assert [cell.strip() for cell in row.split("  ") if cell][3:] == [
        *("process.fork", "> 500/s, burst 64", "0", "-", "-"),
        *("freeze for 10s, kill after 5s", "what can be undone", "5 in 1m", "userspace", "api", "armed"),
    ]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 10), Amount("io", 1))),
            "reweigh cpu 10 io 1 for 1s",
        ),
        (Step("reweigh", for_ns=NS, amounts=(Amount("ionice", IDLE),)), "reweigh ionice idle for 1s"),
        (Step("reweigh", for_ns=NS, amounts=(Amount("ionice", BEST_EFFORT + 7),)), "reweigh ionice 7 for 1s"),
        (Step("limit-cpu", for_ns=NS, amounts=(Amount("max", 15_050),)), "limit-cpu max 150.5% for 1s"),
        (Step("limit-memory", for_ns=NS, amounts=(Amount("max", 3 << 20),)), "limit-memory max 3MiB for 1s"),
        (
            Step("limit-memory", for_ns=NS, amounts=(Amount("max", 8000, "share"),)),
            "limit-memory max 80% of its use for 1s",
        ),
        (Step("limit-pids", for_ns=NS, amounts=(Amount("more", 5),)), "limit-pids more 5 for 1s"),
        (Step("limit-io", for_ns=NS, amounts=(Amount("read", 10_000),)), "limit-io read 10000B/s for 1s"),
        (Step("kill", grace_ns=2 * NS), "kill with 2s of grace"),
        (Step("deny", for_ns=NS, what="connect"), "deny connect for 1s"),
    ],
)
def test_steps_in_words(ask: Ask, plane: Served, step: Step, words: str) -> None:
    plane.responder.rules = {
        "p": Rule(name="p", signal="process.fork", test=Rate(2_000_000, 64), ladder=(step,))
    }
    assert f"  {words}  " in ask("policies").out


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (Poisson(86_400 * NS), "faster than usual, 1/day by chance"),
        (Betting(302_400 * NS), "higher than usual, 2/week by chance"),
        (Betting(NS, 10_000_000), "higher than usual and > 10,000.0 us, 1/s by chance"),
        (Rare(3600 * NS, 700_000 * NS), "> 1/h, 0.864/week by chance"),
        (Pressure(4000), "> 40 % for a minute"),
    ],
)
def test_tests_in_words(ask: Ask, plane: Served, test: Test, words: str) -> None:
    signal = {Betting: "cpu.runq_delay", Pressure: "psi.memory"}.get(type(test), "process.fork")
    plane.responder.rules = {"p": Rule(name="p", signal=signal, test=test)}
    assert f"  {words}  " in ask("policies").out


def test_a_budget_and_what_it_comes_to(ask: Ask, plane: Served) -> None:
    plane.responder.rules = {"p": Rule(name="p", signal="process.fork", test=Poisson(86_400 * NS))}
    plane.responder.budgets = {"p": BudgetStatus(12, 3.14159, 271_433.4)}
    assert "       12     3.14          271,433  " in ask("policies").out


def test_when_it_is_over_and_what_a_loss_means(ask: Ask, plane: Served) -> None:
    storm, long = plane.responder.rules["storm"], (Step("limit-pids", for_ns=60 * NS),)
    plane.responder.rules["storm"] = msgspec.structs.replace(
        storm, ladder=long, quiet_ns=5 * NS, on_loss="closed", protect=("postgres",)
    )
    assert "limit-pids for 1m; over after 5s of quiet  nothing  " in ask("policies").out
    (status,) = json.loads(ask("policies", "--json").out)["policies"]
    policy = status["policy"]
    assert (policy["quiet_ns"], policy["on_loss"], policy["protect"]) == (5 * NS, "closed", ["postgres"])


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
    assert f"freeze for 10s, kill after 5s; {words}  what can be undone" in row
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
