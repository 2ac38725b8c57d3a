"""The mapping table: true to the policies it is read from, to the hooks in the sources, and to its page."""

from pathlib import Path
from typing import get_args

import pytest

from controlplane.link.signals import BY_NAME, Signal, known_with
from controlplane.policy import table
from controlplane.policy.compile import DEFAULTS, compile_folder
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import policy_files
from controlplane.policy.model import Test as AnyTest
from controlplane.policy.table import HOOKS, NOT_FELT, STATISTICS, page, rows

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = frozenset({"link", "losses", "psi"})
OWN = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: fork-storm}
spec:
  signal: process.fork
  test: {kind: threshold, above: 90/min, over: 90s}
  ladder: [{act: observe}, {act: freeze, for: 1500ms, after: 2m}]
  mode: enforce
  scope: {node: true}
"""
SUBJECTS = {
    1: "cpu.runq_delay",
    2: "block.latency",
    3: "memory.reclaim_stall",
    4: "psi.memory",
    5: "process.fork",
    6: "net.retransmit",
    7: "fd.exhausted",
    8: "memory.oom_kill",
    9: "memory.growth",
    10: "softirq.time",
    11: "`cpu.max`",
    12: "process.exit_failure",
    13: "writeback.pause",
    14: "leaks",
}
"""What a node is known to suffer from, by the number under which it was first written down."""


def test_every_default_policy_has_a_row() -> None:
    assert {row.policy for row in rows()} == {file.stem for file in policy_files(DEFAULTS)}


def test_every_subject_has_a_row_or_a_reason_why_not() -> None:
    signals = {row.signal for row in rows()}
    absent = " ".join(NOT_FELT)
    assert [number for number, what in SUBJECTS.items() if what not in signals and what not in absent] == []


def test_the_page_is_what_is_written() -> None:
    assert (ROOT / "docs/mapping-table.md").read_text() == page(rows()), "make table"


def test_rows_are_those_that_are_put_in_force(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN)
    found = {row.policy: (row.origin, row.mode, row.signal) for row in rows(tmp_path)}
    assert found == {rule.name: (rule.origin, rule.mode, rule.signal) for rule in compile_folder(tmp_path)}
    assert found["fork-storm"] == (str(tmp_path / "a.yaml"), "enforce", "process.fork")


def test_a_row_is_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN)
    (row,) = rows(tmp_path, defaults=False)
    assert row.test == "threshold above 90/min over 90s"
    assert row.ladder == "observe, freeze after 2m for 1500ms; over after 30s of quiet"
    assert (row.false_alarms, row.hooks) == ("-", ("sched_process_fork",))


def test_a_row_says_what_a_step_sets(tmp_path: Path) -> None:
    ladder = "{act: limit-memory, max: 80%, for: 5m}, {act: kill, grace: 2s, after: 5m}"
    text = OWN.replace("{act: observe}, {act: freeze, for: 1500ms, after: 2m}", ladder)
    (tmp_path / "a.yaml").write_text(text)
    (row,) = rows(tmp_path, defaults=False)
    words = "limit-memory max 80% of its use for 5m, kill with 2s of grace after 5m"
    assert row.ladder == f"{words}; over after 30s of quiet"


def test_a_bad_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN.replace("process.fork", "process.fourk"))
    with pytest.raises(PolicyError, match="unknown signal"):
        rows(tmp_path)


def test_a_signal_of_a_users_sensor(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN.replace("process.fork", "door.opened"))
    known = known_with([Signal("door.opened", "door", "count", "1", "doors opened")])
    (row,) = rows(tmp_path, known, defaults=False)
    assert (row.signal, row.sensor, row.hooks) == ("door.opened", "door", ())


def test_hooks_are_those_of_the_sources() -> None:
    assert HOOKS.keys() == BY_NAME.keys()
    for name, hooks in HOOKS.items():
        if BY_NAME[name].sensor not in ELSEWHERE:
            source = (ROOT / f"bpf/{BY_NAME[name].sensor}.bpf.c").read_text()
            assert [hook for hook in hooks if f"({hook}," not in source] == []


def test_every_kind_of_test_has_a_statistic() -> None:
    assert {kind.__struct_config__.tag for kind in get_args(AnyTest)} <= STATISTICS.keys()
    assert table.KERNEL_DOES.keys() <= STATISTICS.keys()
