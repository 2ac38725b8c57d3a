"""`reflexarc sensors`."""

import json

from tests.unit.cli.conftest import Ask


def test_for_people(ask: Ask) -> None:
    head, process, cpu = ask("sensors").out.splitlines()
    assert head.split() == ["SENSOR", "FEELS", "SEEN", "EMITTED", "LOST", "NS/RUN", "SIGNALS"]
    assert process.split() == ["process", "yes", "7", "0", "2", "-", "process.fork"]
    assert "no: no BTF" in cpu


def test_for_machines(ask: Ask) -> None:
    sensors = json.loads(ask("sensors", "--json").out)["sensors"]
    assert [(sensor["name"], sensor["attached"]) for sensor in sensors] == [("process", True), ("cpu", False)]
