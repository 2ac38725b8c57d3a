"""`reflexarc record` on the running kernel: what it writes, when it stops, and what `replay` makes of it."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.sensors import Sensors
from controlplane.cli.exits import CliError, Exit
from controlplane.cli.main import main
from controlplane.cli.record import Recorder
from controlplane.link.signals import BY_NAME
from tests.kernel.conftest import FORKER, TestCgroup, fork_in
from tests.patience import patient

STORM = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  test: {kind: threshold, above: 100/s, over: 200ms}
  ladder: [{act: observe}]
"""
FORKS = 300


def recording(out: Path, *words: str) -> "subprocess.Popen[str]":
    """The command, once every event is told."""
    command = [sys.executable, "-m", "controlplane.cli.main", "record", "--out", str(out), *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("recording")
    return running


def lines_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def turn_until(recorder: Recorder, true: Callable[[], bool]) -> None:
    while not true():
        recorder.loop.must_turn(patient(10))


def test_a_storm_that_is_recorded_is_found_in_replay(
    cgroup: TestCgroup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sensors, out = Sensors(), tmp_path / "forks.jsonl"
    try:
        with out.open("w") as file:
            recorder = Recorder(sensors, BY_NAME["process.fork"], file, [cgroup.path])
            recorder.open_gate()
            fork_in(cgroup.run(*FORKER), FORKS)
            turn_until(recorder, lambda: recorder.taken >= FORKS)
            recorder.close_gate()
    finally:
        sensors.close()
    assert recorder.lost() == {}
    lines = lines_of(out)
    assert sum(int(str(line["weight"])) for line in lines) == len(lines) == FORKS
    assert {(line["signal"], line["key"], line["value"]) for line in lines} == {
        ("process.fork", cgroup.path, 1)
    }
    (tmp_path / "p.yaml").write_text(STORM)
    words = ("--recording", str(out), "--policy", str(tmp_path / "p.yaml"), "--json")
    assert main(["replay", *words]) == Exit.DONE
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["key"], found["policy"]) == (cgroup.path, "storm")


def test_the_command_stops_by_size_and_says_what_it_has(cgroup: TestCgroup, tmp_path: Path) -> None:
    out = tmp_path / "forks.jsonl"
    with recording(out, "--signal", "process.fork", "--max-bytes", "2kB", "--json") as command:
        forker = cgroup.run("sh", "-c", "while :; do (:); sleep 0.002; done")
        assert command.wait(patient(30)) == Exit.DONE
        forker.kill()
        assert command.stderr is not None
        told = json.loads(command.stderr.read())
    assert told == {
        "signal": "process.fork",
        "events": len(lines_of(out)),
        "bytes": out.stat().st_size,
        "lost": {},
    }
    assert 2000 <= out.stat().st_size < 2000 + 300


def test_the_command_stops_in_time(tmp_path: Path) -> None:
    with recording(tmp_path / "a", "--signal", "memory.oom_kill", "--for", "1ms") as command:
        assert command.wait(patient(30)) == Exit.DONE


def test_the_command_stops_when_told_and_says_what_it_has(tmp_path: Path) -> None:
    with recording(tmp_path / "b", "--signal", "memory.oom_kill", "--for", "1h") as command:
        command.send_signal(signal.SIGTERM)
        assert command.wait(patient(30)) == Exit.DONE
        assert command.stderr is not None
        assert command.stderr.read() == "0 events in 0 bytes, lost: none\n"


def test_values_are_those_that_were_felt(cgroup: TestCgroup) -> None:
    sensors, out = Sensors(), io.StringIO()
    try:
        recorder = Recorder(sensors, BY_NAME["cpu.runq_delay"], out, [cgroup.path])
        recorder.open_gate()
        cgroup.run("sh", "-c", "while :; do :; done")
        turn_until(recorder, lambda: recorder.taken >= 3)
        recorder.close_gate()
    finally:
        sensors.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {line["key"] for line in lines} == {cgroup.path}
    assert all(line["value"] > 0 and line["weight"] == 1 for line in lines)
    assert [line["time_ns"] for line in lines] == sorted(line["time_ns"] for line in lines)


def test_a_signal_that_is_not_felt_is_refused() -> None:
    sensors = Sensors()
    try:
        sensors.sensor("process").reason = "as if it could not be loaded"
        with pytest.raises(CliError, match="as if it could not be loaded"):
            Recorder(sensors, BY_NAME["process.fork"], io.StringIO()).open_gate()
    finally:
        sensors.close()
