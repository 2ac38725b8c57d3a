"""What serves: troubles of the plane's own parts, what the arc says, and an arc that says nothing."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from controlplane.link.frames import Changed, Ping
from controlplane.plane import condition as condition_module
from controlplane.plane.arc import Arc
from controlplane.plane.condition import Condition
from tests.unit.plane.loop import until
from tests.unit.plane.responder import Responder

Scenario = Callable[[Condition, Responder], Awaitable[None]]


def run(scenario: Scenario, *, exporting: bool = True) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        responder = Responder(theirs)
        try:
            async with asyncio.timeout(20), Arc(ours) as arc:
                condition = Condition(arc, exporting=exporting)
                responder.send(Changed({"arc": (True, ""), "sensor.cpu": (False, "no BTF")}))
                await until(lambda: "arc" in condition.serving)
                await scenario(condition, responder)
        finally:
            responder.close()

    asyncio.run(main())


def test_at_the_beginning_the_plane_serves_and_the_arc_has_said_how_it_fares() -> None:
    async def scenario(condition: Condition, _: Responder) -> None:
        assert condition.serving == {"arc": True, "sensor.cpu": False, "plane": True, "export": True}

    run(scenario)


@pytest.mark.parametrize(
    ("source", "exporting", "troubled"),
    [
        ("journal", True, {"plane", "export"}),
        ("journal", False, {"plane"}),
        ("collector", True, {"export"}),
    ],
)
def test_trouble(source: str, exporting: bool, troubled: set[str]) -> None:  # noqa: FBT001
    async def scenario(condition: Condition, _: Responder) -> None:
        tell = condition.trouble(source)
        tell("no room")
        assert {name for name, serving in condition.serving.items() if not serving} == {
            "sensor.cpu",
            *troubled,
        }
        tell("")
        assert condition.serving["plane"] is condition.serving["export"] is True

    run(scenario, exporting=exporting)


def test_one_trouble_that_ends_does_not_hide_another() -> None:
    async def scenario(condition: Condition, _: Responder) -> None:
        condition.trouble("journal")("no room")
        condition.trouble("collector")("away")
        condition.trouble("journal")("")
        assert condition.serving["plane"]
        assert not condition.serving["export"]

    run(scenario)


def test_a_silent_arc_does_not_serve_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition_module, "SILENT_S", 0.05)
    monkeypatch.setattr(condition_module, "FRESH_S", 0.0)

    async def scenario(condition: Condition, responder: Responder) -> None:
        serving = condition.serving.__getitem__
        await condition._look()
        assert serving("arc")
        responder.silent = True
        await condition._look()
        assert not serving("arc")
        responder.send(Changed({"arc": (True, ""), "policy": (True, "")}))
        await until(lambda: "policy" in condition.serving)
        assert not serving("arc"), "what was on its way is no answer"
        responder.silent = False
        condition.heard(answered=True)
        assert serving("arc")

    run(scenario)


def test_many_who_ask_are_one_question_and_an_answer_is_good_for_a_moment() -> None:
    async def scenario(condition: Condition, responder: Responder) -> None:
        await asyncio.gather(*(condition._look() for _ in range(100)))
        await condition._look()
        assert [type(command) for command in responder.commands] == [Ping]

    run(scenario)
