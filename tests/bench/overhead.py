"""What feeling costs: workloads without sensors, with all of them, and under bpftrace as the peer.

Rounds are interleaved; each figure is the median over rounds of the slow-down within a round.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.daemon import Daemon, config
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import CannotMeasureError, cgroup_mount, compiled, folder, running, watchdog

ROUNDS: Final = 7
AIM_PERCENT: Final = 2.0
CONDITIONS: Final = ("none", "reflexarc", "bpftrace")

RUNQUEUE: Final = """
tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @queued[args->pid] = nsecs; }
tracepoint:sched:sched_switch {
  if (args->prev_state == 0) { @queued[args->prev_pid] = nsecs; }
  $since = @queued[args->next_pid];
  if ($since) { @delay = hist(nsecs - $since); }
  delete(@queued[args->next_pid]);
}
BEGIN { printf("ready\\n"); }
"""
"""Run-queue delay by the book, for the whole machine."""

WORKLOADS: Final = {
    "pipe": ("perf", "bench", "sched", "pipe", "-l", "60000"),
    "messaging": ("perf", "bench", "sched", "messaging", "-g", "5", "-l", "300"),
    "switch": ("stress-ng", "--switch", "2", "--switch-ops", "120000", "--metrics-brief"),
    "fork": ("stress-ng", "--fork", "1", "--fork-ops", "4000", "--metrics-brief"),
    "touch": ("FAULT", "CGROUP", "touch", "64", "24"),
    "write": ("dd", "if=/dev/zero", "of=FILE", "bs=64k", "count=800", "oflag=direct"),
}
SECONDS: Final = (
    re.compile(r"Total time: ([\d.]+) \[sec\]"),
    re.compile(r"\] (?:switch|fork) +\d+ +([\d.]+) "),
    re.compile(r"(?:copied|touched), ([\d.]+) s"),
)
"""How each program says how long it took."""


def main(options: Options) -> int:
    """A table of slow-downs in percent."""
    rounds = options.count or ROUNDS
    taken: dict[tuple[str, str], list[float]] = {}
    with watchdog(rounds * 120), folder() as scratch:
        target = Path(scratch) / "written"
        for number in range(rounds):
            for condition in CONDITIONS[number % 3 :] + CONDITIONS[: number % 3]:
                with under(condition, Path(scratch) / f"{number}-{condition}"):
                    for name in WORKLOADS:
                        taken.setdefault((name, condition), []).append(run(name, target))
    print(f"\nslow-down in percent, medians of {rounds} interleaved rounds")
    conclude("overhead", {f"{name}.slowdown": figure_of(name, taken) for name in WORKLOADS})
    return 0


@contextmanager
def under(condition: str, scratch: Path) -> Iterator[None]:
    """The condition, armed, for the length of a block."""
    match condition:
        case "reflexarc":
            scratch.mkdir()
            with Daemon(config(scratch)) as daemon:
                daemon.await_serving()
                yield
        case "bpftrace":
            with running(("bpftrace", "-e", RUNQUEUE), stdout=subprocess.PIPE) as peer:
                await_ready(peer)
                yield
        case _:
            yield


def await_ready(peer: "subprocess.Popen[str]") -> None:
    """Returns when its programs are attached."""
    assert peer.stdout is not None
    for line in peer.stdout:
        if line.startswith("ready"):
            return
    raise CannotMeasureError("bpftrace did not start")


def run(name: str, target: Path) -> float:
    """Seconds a workload took, by its own account."""
    words = {"FAULT": compiled("fault"), "CGROUP": cgroup_mount()}
    command = [str(words.get(part, part)).replace("FILE", str(target)) for part in WORKLOADS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    target.unlink(missing_ok=True)
    for pattern in SECONDS:
        if found := pattern.search(done.stdout + done.stderr):
            return float(found[1])
    raise CannotMeasureError(f"{name} did not say how long it took: {done.stdout}{done.stderr}")


def figure_of(name: str, taken: dict[tuple[str, str], list[float]]) -> Figure:
    """Medians of the rounds' own ratios, so that what drifts between rounds cancels."""
    ours, peer = (
        median(
            100 * (loaded / bare - 1)
            for loaded, bare in zip(taken[name, condition], taken[name, "none"], strict=True)
        )
        for condition in ("reflexarc", "bpftrace")
    )
    return Figure(round(ours, 2), "%", round(peer, 2), aim=AIM_PERCENT)
