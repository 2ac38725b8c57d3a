"""A daemon under abuse: its reflexes meanwhile; its clients, memory and health afterwards.

Each attack goes to the health port and to the socket of management at once, from processes of its own.
Reflexes without an attack are measured before each, in the same daemon: they are the peer.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from controlplane.client import Client, ClientError, HealthClient, Target
from tests.bench.daemon import Daemon, config, now_ns
from tests.bench.latency import GAP_US, Reflex, reflexes
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.rows import ROWS, rule_for
from tests.bench.testbed import (
    CannotMeasureError,
    cgroup,
    compiled,
    folder,
    python,
    running,
    start,
    watchdog,
)
from tests.plane.attacks import attacking
from tests.plane.world import LOOKS

COUNT: Final = 300
"""Reflexes of each stretch, quiet or under attack; calls afterwards are as many."""
AMOUNTS: Final = {
    "garbage": 1_500,
    "tiny windows": 10,
    "slowloris": 450,
    "rapid resets": 4,
    "half-open": 9_000,
}
"""Connections. Headers without end are not here: they cost the plane, and are a test."""
ROW: Final = ROWS["kill"]
SETTINGS: Final = {"breaker_acts": 1_000, "breaker_window_s": 1, "self_budget": 10_000}
"""Nothing that is done here is too much."""
CHECK: Final = "/grpc.health.v1.Health/Check"
RECOVERY_S: Final = 60
DESCRIPTORS: Final = 12_000
AIM_MS: Final = 50.0
AIM_RATIO: Final = 1.3
AIM_MIB: Final = 160.0


class Stretch(NamedTuple):
    """A time in which reflexes happened; CLOCK_MONOTONIC nanoseconds."""

    begin: int
    end: int
    missed: int
    """Victims that went unharmed."""


class Aftermath(NamedTuple):
    """What it was like once an attack was over."""

    health_ms: list[float]
    status_ms: list[float]
    recovered_s: float
    """Until the first call was served."""
    serving: bool
    resident_mib: float


def main(options: Options) -> int:
    """Every attack, after a quiet stretch of its own."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < DESCRIPTORS:
        raise CannotMeasureError(f"needs {DESCRIPTORS} open files: ulimit -n")
    count = options.count or COUNT
    quiet: dict[str, Stretch] = {}
    abused: dict[str, Stretch] = {}
    after: dict[str, Aftermath] = {}
    with watchdog(240), ExitStack() as stack:
        victim = stack.enter_context(cgroup("abuse"))
        daemon = Daemon(config(stack.enter_context(folder()), **SETTINGS), [rule_for(ROW, victim)])
        with daemon:
            daemon.await_said("health on port")
            for name in AMOUNTS:
                quiet[name] = stretch(victim, count)
                with attack(daemon, name):
                    abused[name] = stretch(victim, count)
                after[name] = aftermath(daemon, count)
        found = reflexes(daemon)
    figures: dict[str, Figure] = {}
    for name in AMOUNTS:
        figures[f"{name}.missed"] = Figure(abused[name].missed, "reflexes", quiet[name].missed, aim=0)
        figures |= summarise(name, p99s(found, quiet[name]), p99s(found, abused[name]), after[name])
    conclude("abuse", figures)
    return 0


def attack(daemon: Daemon, name: str) -> ExitStack:
    """On both listeners, for the length of a block."""
    host, _, port = daemon.config.health.partition(":")
    with ExitStack() as stack:
        stack.enter_context(attacking(name, (host, int(port)), CHECK, AMOUNTS[name]))
        stack.enter_context(attacking(name, str(daemon.socket), LOOKS["unary"][0], AMOUNTS[name]))
        return stack.pop_all()


def stretch(victim: Path, count: int) -> Stretch:
    """So many causes for a reflex, one after the other."""
    begin = now_ns()
    command = (compiled("trigger"), ROW.way, victim, str(count), str(GAP_US))
    process = start(command, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    return Stretch(begin, now_ns(), count - int(out))


def aftermath(daemon: Daemon, count: int) -> Aftermath:
    """What clients find that come once it is over: in a process of their own, as gRPC bears no forks."""
    command = python("tests.bench.abuse", daemon.config.health, daemon.socket, count)
    with running(command, stdout=subprocess.PIPE) as clients:
        out, _ = clients.communicate(timeout=RECOVERY_S)
    recovered_s, serving, healths, statuses = json.loads(out)
    return Aftermath(healths, statuses, recovered_s, serving, resident_mib(daemon.plane_pid))


def visit(health_address: str, socket: str, count: str) -> None:
    """Prints seconds until the first call was served, whether health was true, and milliseconds of calls."""
    with Client(Target(socket=socket)) as client, HealthClient(health_address) as health:
        began = time.perf_counter()
        while not served(client):
            pass
        recovered_s = time.perf_counter() - began
        health.components()
        states: list[str] = []
        healths = [timed(lambda: states.append(health.components()[""])) for _ in range(int(count))]
        statuses = [timed(client.status) for _ in range(int(count))]
    print(json.dumps((recovered_s, set(states) == {"serving"}, sorted(healths), sorted(statuses))))


def timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def served(client: Client) -> bool:
    """Whether calls are, or those of the attack are still under way."""
    try:
        client.status()
    except ClientError:
        return False
    return True


def resident_mib(pid: int) -> float:
    """Of the plane."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def p99s(found: list[Reflex], within: Stretch) -> list[float]:
    """Median and P99 of the reflexes of a stretch, in microseconds."""
    took = sorted(
        (each.returned - each.event) / 1000 for each in found if within.begin <= each.event <= within.end
    )
    if not took:
        raise CannotMeasureError("no reflex happened")
    return [median(took), percentile(took, 0.99)]


def summarise(name: str, quiet: list[float], abused: list[float], after: Aftermath) -> dict[str, Figure]:
    """One attack: reflexes beside quiet ones, then clients, memory and health."""
    figures = {
        f"{name}.reflex.{which}": Figure(
            abused[place], "us", quiet[place], abused[place] / quiet[place], AIM_RATIO
        )
        for place, which in enumerate(("p50", "p99"))
    }
    figures[f"{name}.health.p99"] = Figure(percentile(after.health_ms, 0.99), "ms", aim=AIM_MS)
    figures[f"{name}.status.p99"] = Figure(percentile(after.status_ms, 0.99), "ms", aim=AIM_MS)
    figures[f"{name}.recovered"] = Figure(after.recovered_s, "s")
    figures[f"{name}.serving"] = Figure(float(after.serving), "yes", aim=1.0)
    figures[f"{name}.resident"] = Figure(after.resident_mib, "MiB", aim=AIM_MIB)
    return figures


if __name__ == "__main__":
    visit(*sys.argv[1:])
