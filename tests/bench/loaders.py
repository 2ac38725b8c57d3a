"""How soon the arc is armed and what it holds, under each loader."""

from statistics import median
from typing import Final

from tests.bench.daemon import Daemon, config
from tests.bench.footprint import memory
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import folder, watchdog

RUNS: Final = 5
AIM_MS: Final = 300.0


def main(options: Options) -> int:
    """Medians of some starts."""
    runs = options.count or RUNS
    figures = {}
    for loader in ("core", "bcc"):
        with watchdog(runs * 60):
            starts = [once(loader) for _ in range(runs)]
        aim = AIM_MS if loader == "core" else None
        figures[f"{loader}.armed"] = Figure(round(median(armed for armed, _ in starts), 1), "ms", aim=aim)
        figures[f"{loader}.arc.rss"] = Figure(round(median(rss for _, rss in starts), 1), "MiB", aim=20.0)
    print(f"\nmedians of {runs} starts")
    conclude("loaders", figures)
    return 0


def once(loader: str) -> tuple[float, float]:
    """(milliseconds from exec to armed, MiB resident of the arc)."""
    with folder() as scratch, Daemon(config(scratch, loader=loader)) as daemon:
        daemon.await_serving()
        return daemon.armed_ms(), memory({"arc": daemon.pid}, "")["arc.rss"]
