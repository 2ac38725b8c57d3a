"""`reflexarc watch`, in a process of its own, as it blocks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from controlplane.link import records
from tests.unit.plane import told
from tests.unit.plane.served import Served


@contextmanager
def watching(plane: Served, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "controlplane.cli.main", "watch", "--socket", plane.target.socket]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        plane.await_watcher()
        yield process
        process.terminate()


def test_one_line_for_each_thing_told(plane: Served) -> None:
    lost = records.Lost(time_ns=1, sensor="cpu", reason="ring full", count=3)
    with watching(plane) as process:
        assert process.stdout is not None
        plane.feed(told.finding(), told.outcome(), lost)
        finding, step, loss = (process.stdout.readline().split(maxsplit=1)[1].strip() for _ in range(3))
    assert finding.startswith("finding   fork-storm: process.fork rate 812 > 500 in /storm pid 1234 (sh)")
    assert step == "returned  fork-storm: freeze done  +55.0 us"
    assert loss == "lost      3 events of cpu: ring full"


def test_one_object_a_line_for_machines(plane: Served) -> None:
    with watching(plane, "--json") as process:
        assert process.stdout is not None
        plane.feed(told.finding())
        event = json.loads(process.stdout.readline())
    assert (event["uid"], event["finding"]["policy"], "step" in event) == ("i-0", "fork-storm", False)
