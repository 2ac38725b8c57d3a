"""As many kernel events as this machine can make at once: forks, switches, failed calls, page faults.

With all sensors and all default policies on, those too that are off as shipped: how many are felt a second,
what crosses the ring, what is lost, and what the arc takes of a processor meanwhile.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from controlplane.client import Client, Target
from controlplane.policy.compile import DEFAULTS
from tests.bench.daemon import Daemon, config
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import compiled, folder, running, watchdog

SECONDS: Final = 10
AIM_PER_SECOND: Final = 1_000_000
STATS: Final = Path("/proc/sys/kernel/bpf_stats_enabled")


class Counted(NamedTuple):
    """Totals at one moment."""

    time_ns: int
    sensors: dict[str, tuple[int, int]]
    """Nanoseconds and runs of each one's programs."""
    emitted: int
    lost: int
    cpu_s: float


def main(options: Options) -> int:
    """Differences over the storm."""
    seconds = options.seconds or SECONDS
    with ExitStack() as stack:
        stack.enter_context(watchdog(seconds + 60))
        settings = config(stack.enter_context(folder()))
        switch_on(Path(settings.policies))
        stack.enter_context(counting_runs())
        daemon = stack.enter_context(Daemon(settings))
        daemon.await_serving()
        with Client(Target(socket=str(daemon.socket))) as client:
            before = counted(client, daemon.pid)
            with running((compiled("storm"), str(seconds))) as storm:
                storm.wait()
            after = counted(client, daemon.pid)
    took = (after.time_ns - before.time_ns) / 1e9
    taken = {name: spent(before.sensors[name], after.sensors[name]) for name in before.sensors}
    felt = sum(runs for _, runs in taken.values()) / took
    print(f"\na storm of {seconds} s on {os.cpu_count()} processors")
    conclude(
        "storm",
        {
            "felt": Figure(round(felt), "1/s", aim=AIM_PER_SECOND),
            "ring": Figure(round((after.emitted - before.emitted) / took), "1/s"),
            "lost": Figure(after.lost - before.lost, "1", aim=0),
            "arc.cpu": Figure(round(100 * (after.cpu_s - before.cpu_s) / took, 2), "%"),
            **{f"{name}.run": Figure(round(ns / runs), "ns") for name, (ns, runs) in taken.items() if runs},
        },
    )
    return 0


def switch_on(policies: Path) -> None:
    """Default policies that are off, in observe mode: those of failed system calls."""
    policies.mkdir()
    for path in DEFAULTS.glob("*.yaml"):
        text = path.read_text()
        if "mode: off" in text:
            (policies / path.name).write_text(text.replace("mode: off", "mode: observe"))


def spent(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    """Nanoseconds and runs in between."""
    return after[0] - before[0], after[1] - before[1]


@contextmanager
def counting_runs() -> Iterator[None]:
    """Have the kernel count how often programs run, as it was before afterwards. Costs some 20 ns a run."""
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def counted(client: Client, pid: int) -> Counted:
    """Of all sensors together, and the arc's own time."""
    sensors = client.sensors()
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return Counted(
        time.monotonic_ns(),
        {sensor.name: (sensor.run_ns, sensor.runs) for sensor in sensors},
        sum(sensor.emitted for sensor in sensors),
        sum(sum(sensor.lost.values()) for sensor in sensors),
        (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"),
    )
