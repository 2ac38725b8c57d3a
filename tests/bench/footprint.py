"""What it takes: memory of arc and plane after start and after 10,000 events, and how soon it is armed."""

import subprocess
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.daemon import Daemon, config
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import cgroup, compiled, folder, running, watchdog

RUNS: Final = 10
EVENTS: Final = 10_000
AIMS: Final = {"arc.rss": 20.0, "plane.rss": 64.0, "armed": 300.0}
PARTS: Final = {"rss": "Rss:", "pss": "Pss:", "anonymous": "Anonymous:"}


def main(options: Options) -> int:
    """Medians of some runs."""
    runs = options.count or RUNS
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        with watchdog(120):
            for name, value in once().items():
                found.setdefault(name, []).append(value)
    figures = {
        name: Figure(round(median(values), 1), unit_of(name), aim=AIMS.get(name))
        for name, values in found.items()
    }
    print(f"\nmedians of {runs} runs")
    conclude("footprint", figures)
    return 0


def once() -> dict[str, float]:
    """One start, measured before and after the events."""
    with folder() as scratch, cgroup("footprint") as place, Daemon(config(scratch)) as daemon:
        serving_ns = daemon.await_serving()
        pids = {"arc": daemon.pid, "plane": daemon.plane_pid}
        measured = memory(pids, "")
        command = (compiled("trigger"), "fork", place, str(EVENTS), "0")
        with running(command, stdout=subprocess.DEVNULL) as trigger:
            trigger.wait()
        measured |= memory(pids, ".after_events")
        measured["armed"] = daemon.armed_ms()
        measured["serving"] = (serving_ns - daemon.exec_ns) / 1e6
    return measured


def memory(pids: dict[str, int], ending: str) -> dict[str, float]:
    """MiB, from smaps_rollup."""
    found = {}
    for who, pid in pids.items():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        for name, label in PARTS.items():
            kib = next(int(line.split()[1]) for line in lines if line.startswith(label))
            found[f"{who}.{name}{ending}"] = kib / 1024
    return found


def unit_of(name: str) -> str:
    """Times are the two without a dot."""
    return "MiB" if "." in name else "ms"
