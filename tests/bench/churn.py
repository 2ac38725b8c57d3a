"""Ten thousand cgroups made, lived in and removed while the sensors are on: nothing may stay behind."""

import subprocess
from pathlib import Path
from typing import Final

from controlplane.client import Client, Target
from tests.bench.daemon import Daemon, config
from tests.bench.footprint import memory
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import cgroup, folder, watchdog

CGROUPS: Final = 10_000
WARM_UP: Final = 500
"""So that what is allocated once is not taken for growth."""


def main(options: Options) -> int:
    """Memory and streams before and after."""
    count = options.count or CGROUPS
    with watchdog(600), folder() as scratch, cgroup("churn") as place, Daemon(config(scratch)) as daemon:
        daemon.await_serving()
        with Client(Target(socket=str(daemon.socket))) as client:
            live_and_die(place, WARM_UP)
            streams, arc = client.status().streams, memory({"arc": daemon.pid}, "")["arc.rss"]
            listed = len(client.streams())
            live_and_die(place, count)
            figures = {
                "streams.left": Figure(client.status().streams - streams, "1", aim=0),
                "kernel.streams.left": Figure(len(client.streams()) - listed, "1"),
                "arc.growth": Figure(
                    round(memory({"arc": daemon.pid}, "")["arc.rss"] - arc, 3), "MiB", aim=0.5
                ),
                "lost": Figure(sum(sum(each.lost.values()) for each in client.sensors()), "1", aim=0),
            }
    print(f"\n{count} cgroups, each with a program executed in it")
    conclude("churn", figures)
    return 0


def live_and_die(place: Path, count: int) -> None:
    """Make cgroups below `place`, execute a program in each, remove them again."""
    script = (
        'i=0; while [ "$i" -lt "$1" ]; do mkdir "$0/$i" && (echo 0 > "$0/$i/cgroup.procs" && exec true); '
        'until rmdir "$0/$i" 2>/dev/null; do :; done; i=$((i+1)); done'
    )
    subprocess.run(("sh", "-c", script, str(place), str(count)), check=True)
