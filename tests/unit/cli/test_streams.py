"""`reflexarc streams`."""

import json

import pytest

from controlplane.link import frames
from tests.unit.cli.conftest import Ask
from tests.unit.plane.served import Served

ID = "3f" * 32


@pytest.fixture(autouse=True)
def streams(plane: Served) -> None:
    plane.responder.streams = [
        frames.Stream(signal="process.fork", unit="1", cgroup=1, path=f"/docker/{ID}", count=3),
        frames.Stream(
            signal="cpu.runq_delay",
            unit="ns",
            cgroup=2,
            path="/busy",
            count=4_000,
            last=1_500,
            peak=2_000_000,
        ),
    ]


def test_the_busiest_first(ask: Ask) -> None:
    _, first, second = ask("streams").out.splitlines()
    assert first.split() == ["cpu.runq_delay", "4,000", "1.5", "us", "2,000.0", "us", "/busy"]
    assert second.split() == ["process.fork", "3", "0", "0", f"/docker/{ID}"]


def test_only_one_signal_for_machines(ask: Ask) -> None:
    (stream,) = json.loads(ask("streams", "--json", "--signal", "process.fork").out)["streams"]
    assert (stream["of"]["path"], stream["count"]) == (f"/docker/{ID}", 3)
    assert (stream["container_id"], stream["pod_uid"]) == (ID, "")
