"""`reflexarc status`."""

import json

from tests.unit.cli.conftest import Ask


def test_for_people(ask: Ask) -> None:
    said = ask("status")
    assert (said.exit, said.err) == (0, "")
    assert "mode         observe" in said.out
    assert "9.0 us from event to act returned, mean of 1" in said.out
    assert "breakers     closed; 5 in 1m on this node" in said.out
    assert "in force: freeze /storm by fork-storm until" in said.out


def test_for_machines(ask: Ask) -> None:
    status = json.loads(ask("status", "--json").out)
    assert (status["mode"], status["pid"], status["events"]) == ("observe", 42, {"process.fork": 7})
    assert status["latency"] == {"bounds_ns": [10_000, 100_000], "counts": [1, 0, 0], "sum_ns": 9_000}
    assert status["start_time"].endswith("Z")
