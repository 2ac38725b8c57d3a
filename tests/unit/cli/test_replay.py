"""`reflexarc replay` on files: findings as people and machines read them, and all that is no sample."""

import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main
from tests.unit.arc.monitor.series import latencies

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: p}
spec:
  signal: SIGNAL
  scope: {cgroups: ["/elsewhere"]}
  test: {TEST}
  ladder: [{act: freeze, for: 1s}]
  cooldown: 10s
  mode: off
"""


class Files:
    """A policy and a recording."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.policy, self.csv = folder / "p.yaml", folder / "r.csv"
        self._capsys = capsys

    def write(self, signal: str, test: str, rows: str) -> None:
        self.policy.write_text(POLICY.replace("SIGNAL", signal).replace("TEST", test))
        self.csv.write_text(rows)

    def replay(self, *words: str) -> tuple[int, str, str]:
        status = main(["replay", "--csv", str(self.csv), "--policy", str(self.policy), *words])
        out, err = self._capsys.readouterr()
        return status, out, err

    def found(self, *words: str) -> list[dict[str, object]]:
        status, out, err = self.replay("--json", *words)
        assert (status, err) == (Exit.DONE, "")
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capsys)


def rows(values: Iterator[int], number: int, key: str = "") -> str:
    return "".join(f"{index / 100},{value},{key}\n" for index, value in enumerate(islice(values, number)))


def test_a_threshold(files: Files) -> None:
    """Mode and scope are those of a daemon; here every key is looked at, and nothing is done."""
    files.write(
        "cpu.runq_delay", "kind: threshold, above: 1ms", "1,5,/a\n2,2000000,/a\n3,2000000,/a\n4,1e9,/b\n"
    )
    one = {"time": 2, "key": "/a", "value": 2_000_000, "statistic": 2e6, "threshold": 1e6, "policy": "p"}
    other = {**one, "time": 4, "key": "/b", "value": 1e9, "statistic": 1e9}
    assert files.found() == [one, other]


def test_for_people(files: Files) -> None:
    files.write("cpu.runq_delay", "kind: threshold, above: 1ms", "time,value,key\n7,2000000,/a\n8,x,/a\n")
    status, out, err = files.replay()
    assert (status, out) == (Exit.DONE, "7  p: /a 2000000, level 2e+06 against 1e+06\n")
    assert err.splitlines() == [
        "1 findings in 1 rows of 1 keys",
        "passed over 1 rows, the first: line 3: could not convert string to float: 'x'",
    ]


def test_learned_values(files: Files) -> None:
    values = [
        *islice(latencies(Random(1)), 5000),
        *(20 * value for value in islice(latencies(Random(2)), 50)),
    ]
    files.write("cpu.runq_delay", "kind: histogram, false_alarms: 1/day", rows(iter(values), 5050))
    (finding,) = files.found()
    assert 50 < float(str(finding["time"])) < 50.2


def test_streams_are_kept_apart_by_key(files: Files) -> None:
    healthy = rows(latencies(Random(1)), 5000, "/a")
    files.write("cpu.runq_delay", "kind: histogram, false_alarms: 1/day", healthy + "60,1e9,/b\n" * 500)
    assert files.found() == []


def test_values_with_fractions(files: Files) -> None:
    """Whatever the unit: the histogram is as fine for fractions of one."""
    text = "".join(f"{index},{Random(index).gauss(0, 1)}\n" for index in range(4000))
    files.write("cpu.runq_delay", "kind: histogram, false_alarms: 1/day", text + "5000,9.5\n" * 30)
    assert [one["value"] for one in files.found()] == [9.5]


def test_learned_rates(files: Files) -> None:
    steady = "".join(f"{index / 10},1\n" for index in range(3000))
    storm = "".join(f"{300 + index / 1000},1\n" for index in range(300))
    files.write("process.fork", "kind: rate, false_alarms: 1/week", steady + storm)
    (finding,) = files.found()
    assert 300 < float(str(finding["time"])) < 300.1


def test_the_budget_may_be_given_in_events(files: Files) -> None:
    files.write("cpu.runq_delay", "kind: histogram, false_alarms: 1/day", rows(latencies(Random(3)), 20_000))
    assert files.found() == []
    often = files.found("--events", "100")
    assert 1 < len(often) <= 200
    assert [one["threshold"] for one in often] == pytest.approx([math.log2(100)] * len(often))


@pytest.mark.parametrize("value", ["-1", "1e300", str(2**32)])
def test_what_is_no_count_is_passed_over(files: Files, value: str) -> None:
    files.write("process.fork", "kind: rate, false_alarms: 1/day", f"1,1\n2,{value}\n")
    status, out, err = files.replay("--json")
    assert (status, out) == (Exit.DONE, "")
    assert err.startswith("passed over 1 rows, the first: time 2: ")


@pytest.mark.parametrize("signal", ["process.fork", "cpu.runq_delay"])
def test_hostile_recordings_find_nothing(files: Files, signal: str) -> None:
    """Time that goes backwards or stands still, zeros, negatives, what is no number, great numbers."""
    kind = "rate" if signal == "process.fork" else "histogram"
    text = "".join(f"{-index % 7},{(0, -5, 'nan', 2**31)[index % 4]},{index % 3}\n" for index in range(5000))
    files.write(signal, f"kind: {kind}, false_alarms: 1/day", text)
    assert files.replay("--json")[:2] == (Exit.DONE, "")


def test_many_keys_are_bounded(files: Files) -> None:
    text = "".join(f"{index},1,/{index}\n" for index in range(20_000))
    files.write("cpu.runq_delay", "kind: threshold, above: 1ms", text)
    assert files.found() == []


@pytest.mark.parametrize(
    ("policy", "text", "exit_code", "message"),
    [
        ("", "1,2\n", Exit.BAD_POLICY, "is empty"),
        ("# nothing\n", "1,2\n", Exit.FAILED, "holds no policy"),
        (None, "", Exit.FAILED, "holds no row that can be taken"),
        (None, None, Exit.FAILED, "cannot be read: No such file or directory"),
    ],
)
def test_nothing_to_replay(
    files: Files, policy: str | None, text: str | None, exit_code: Exit, message: str
) -> None:
    files.write("cpu.runq_delay", "kind: threshold, above: 1ms", text or "")
    if policy is not None:
        files.policy.write_text(policy)
    if text is None:
        files.csv.unlink()
    status, out, err = files.replay()
    assert (status, out) == (exit_code, "")
    assert message in err


def test_a_recording_is_of_one_signal(files: Files) -> None:
    files.write("cpu.runq_delay", "kind: threshold, above: 1ms", "1,2\n")
    other = files.policy.read_text().replace("cpu.runq_delay", "process.fork").replace("1ms", "1/s")
    files.policy.write_text(f"{files.policy.read_text()}---\n{other.replace('{name: p}', '{name: q}')}")
    status, _, err = files.replay()
    assert status == Exit.FAILED
    assert "several" in err


def test_what_was_recorded(files: Files) -> None:
    """Times are nanoseconds, and lines of another signal, torn ones and impossible ones are passed over."""
    line = '{"time_ns": TIME, "value": VALUE, "weight": 1, "signal": "cpu.runq_delay", "key": "/a"}'
    good = line.replace("TIME", "7000000001").replace("VALUE", "2000000")
    bad = (
        good.replace("cpu.runq_delay", "process.fork"),
        good.replace("2000000", "1e999"),
        good.replace("7000000001", "9223372036854775808"),
        good[:40],
    )
    files.write("cpu.runq_delay", "kind: threshold, above: 1ms", "\n".join((good, *bad)))
    status, out, err = files.replay("--json")
    found = json.loads(out)
    assert (status, found["time"], found["key"], found["value"]) == (
        Exit.DONE,
        7_000_000_001,
        "/a",
        2_000_000,
    )
    assert "passed over 4 rows, the first: line 2: is of process.fork and not of cpu.runq_delay" in err
