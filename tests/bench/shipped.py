"""The daemon as it is shipped: how soon a container of each image is armed, and what memory it takes.

A container is counted from when the kernel made its first process, in steps of 10 ms. On a host that was
never suspended, that clock and the journal's are one.
"""

import os
import subprocess
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from controlplane.client import HealthClient
from controlplane.link.records import Notice
from tests.bench.daemon import config, journalled, now_ns
from tests.bench.footprint import memory
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import CannotMeasureError, watchdog
from tests.image.conftest import HOW, Image
from tests.image.running import PRIVILEGED, Container, container

RUNS: Final = 5
AIMS: Final = {"armed": 300.0, "arc.rss": 20.0, "plane.rss": 64.0}
STARTED: Final = 19
"""Place of starttime in /proc/PID/stat behind the name (proc_pid_stat(5)), in clock ticks."""


def main(options: Options) -> int:
    """Medians of some starts of each image that was built."""
    runs = options.count or RUNS
    images = [image for image in map(Image, options.only or HOW) if image.archive.exists()]
    if not images:
        raise CannotMeasureError("no image is built: make image")
    figures = {}
    for image in images:
        found: dict[str, list[float]] = {}
        for _ in range(runs):
            with watchdog(120):
                for name, value in once(image).items():
                    found.setdefault(name, []).append(value)
        for name, values in found.items():
            unit = "MiB" if "." in name else "ms"
            figures[f"{image.kind} {name}"] = Figure(round(median(values), 1), unit, aim=AIMS.get(name))
    print(f"\nmedians of {runs} starts")
    conclude("shipped", figures)
    return 0


def once(image: Image) -> dict[str, float]:
    """One start."""
    with container() as made:
        with made.running(image, *PRIVILEGED):
            with HealthClient(made.health) as health:
                if "serving" not in health.watch(""):
                    raise CannotMeasureError("the daemon does not serve")
            serving_ns = now_ns()
            pid = first_process(made)
            started_ns = started(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            measured = memory({"arc": pid, "plane": int(children[0])}, "")
        measured["armed"] = (armed(made) - started_ns) / 1e6
        measured["serving"] = (serving_ns - started_ns) / 1e6
    return {name: value for name, value in measured.items() if not name.endswith("anonymous")}


def first_process(made: Container) -> int:
    """Of the container: the arc."""
    command = ("podman", "inspect", "--format", "{{.State.Pid}}", made.folder.name)
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def started(pid: int) -> int:
    """When the kernel made it, ns."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(words[STARTED]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def armed(made: Container) -> int:
    """When the arc said so, ns."""
    folders = {"runtime_dir": str(made.folder / "run"), "state_dir": str(made.folder / "state")}
    records = journalled(msgspec.structs.replace(config(made.folder), **folders))
    return next(each.time_ns for _, each in records if isinstance(each, Notice) and each.name == "arc.armed")
