"""Everything a tool can find out about the sources: style, types, borders between folders, house rules."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lint.hot_path import hot_path_problems
from tests.lint.layout import layout_problems

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

HOT: dict[str, set[str]] = {
    "controlplane.arc.kernel.ring": {"open_ring"},
    "controlplane.arc.monitor.bets": set(),
    "controlplane.arc.monitor.betting": {"every", "restore"},
    "controlplane.arc.monitor.budget": {"rate_per_s"},
    "controlplane.arc.monitor.counts": {"restore", "saved"},
    "controlplane.arc.monitor.levels": set(),
    "controlplane.arc.monitor.ratios": set(),
    "controlplane.arc.monitor.winnings": set(),
    "controlplane.arc.monitor.buckets": {"lower_bound"},
    "controlplane.arc.monitor.integer": {"_rounded", "bits_table", "counted"},
    "controlplane.arc.monitor.replayed": {"_summarise", "open", "past"},
    "controlplane.arc.monitor.tests": {"is_open", "make_test"},
    "controlplane.arc.monitor.tiers": set(),
    "controlplane.arc.monitor.thinning": {"every"},
    "controlplane.arc.monitor.trail": {"weight_since"},
}
"""Modules that run per event -> their functions that do not."""

RARE: dict[str, str] = {
    "_end": "the victim is dead, or a reflex is over",
    "_first_below": "a cgroup whose processes are all in cgroups below it",
    "_kill_one_by_one": "instead of cgroup.kill, which is there since Linux 5.14",
    "_terminate": "a kill with grace goes through every process of a cgroup",
    "_roll": "once per segment of the journal",
    "_summarise": "in replay only",
    "_settle": "once per wake-up, when its acts are done",
    "_set_modes": "a breaker opens",
    "forget": "death of a cgroup",
    "begin": "first event of a stream",
    "calm": "an alarm is over",
    "changes_of": "a program is to be started, which takes a thousand times as long",
    "counted": "in replay only",
    "is_learned": "one comparison, shared with the policy checks",
    "is_named": "a victim in a subtree of the system",
    "is_empty": "two comparisons, shared with the policy checks",
    "make_test": "first event of a stream",
    "map": "first use of some hundred slots",
    "matches": "a stream that is kept by something else than a cgroup fires",
    "bets": "so many values of a stream have come that its odds are made anew",
    "name": "birth of a cgroup",
    "name_stream": "first event of a stream",
    "note": "an alarm of a stream begins or ends",
    "open": "first act on a cgroup that was not prepared",
    "padded": "arithmetic, shared with the readers of segments",
    "open_netlink": "first act in a network namespace",
    "path_of": "first event of a cgroup",
    "protected": "a protected program was executed",
    "signals_of": "one comparison, shared with the policy checks",
    "summarise": "so many values of a stream have come that its odds are made anew",
    "undo_where": "end of a reflex",
    "window_ns": "one comparison, before an act that losses forbid",
}
"""Functions that hot code may call without their promising anything -> why."""

HEAVY = {
    *("argparse", "asyncio", "concurrent", "cryptography", "google", "grpc", "logging", "multiprocessing"),
    *("opentelemetry", "prometheus_client", "pyroute2", "rich", "subprocess", "threading", "yaml"),
}
"""What must not be in the arc's process, however it got there."""


def check(*command: str | Path) -> None:
    """Run a linter; what it says is the failure."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}{done.stderr}", pytrace=False)


def python_files() -> Iterator[Path]:
    for folder in ("bpf", "controlplane", "protos", "tests"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_ruff_check() -> None:
    check(BIN / "ruff", "check", "--quiet")


def test_ruff_format() -> None:
    check(BIN / "ruff", "format", "--check", "--diff", "--quiet")


@pytest.mark.timeout(300)
def test_mypy() -> None:
    check(BIN / "mypy", "--no-error-summary")


def test_import_contracts() -> None:
    check(BIN / "lint-imports", "--no-logo")


def test_clang_format() -> None:
    files = [path for folder in ("bpf", "tests") for path in sorted((ROOT / folder).rglob("*.[ch]"))]
    check("clang-format", "--dry-run", "-Werror", *files)


def test_house_rules() -> None:
    generated = ("_pb2.py", "_pb2_grpc.py")
    found = [
        problem
        for path in python_files()
        if not path.name.endswith(generated)
        for problem in layout_problems(path.relative_to(ROOT), path.read_text())
    ]
    assert not found, "\n".join(found)


def test_hot_path() -> None:
    files = [path for folder in ("arc", "link") for path in (ROOT / "controlplane" / folder).rglob("*.py")]
    sources = {module_name(path): ast.parse(path.read_text()) for path in files}
    found = [*hot_path_problems(sources, HOT, RARE)]
    assert not found, "\n".join(found)


def modules_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after one statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_arc_stays_small() -> None:
    """The import contract sees our own imports; this sees those of the libraries as well."""
    names = [module_name(path) for path in sorted((ROOT / "controlplane/arc").rglob("*.py"))]
    found = modules_after(f"import {', '.join(names)}") & HEAVY
    assert not found, f"imported into the arc: {', '.join(sorted(found))}"
