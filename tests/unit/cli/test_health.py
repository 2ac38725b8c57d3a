"""`reflexarc health`."""

import json

import pytest

from controlplane.cli.main import main
from tests.unit.plane.served import Served


@pytest.fixture(autouse=True)
def components(plane: Served) -> None:
    plane.loop.call(plane.health.update, {"arc": True, "sensor.cpu": False})


def ask(plane: Served, *words: str) -> int:
    return main(["health", "--health", plane.health_address, *words])


def test_every_component(plane: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(plane) == 0
    assert capsys.readouterr().out.splitlines() == [
        "daemon      serving",
        "arc         serving",
        "sensor.cpu  not serving",
    ]


def test_one_component_for_machines(plane: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(plane, "sensor.cpu", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"components": {"sensor.cpu": "not_serving"}}


def test_a_daemon_that_does_not_serve(plane: Served) -> None:
    plane.loop.call(plane.health.update, {"arc": False})
    assert ask(plane) == 1


def test_an_unknown_component(plane: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(plane, "nothing") == 1
    assert "there are arc, sensor.cpu" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--health", "127.0.0.1:1"]) == 5
    assert "cannot reach" in capsys.readouterr().err
