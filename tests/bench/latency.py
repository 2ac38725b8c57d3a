"""Event -> act returned, in kernel time, of `kill` and `freeze`, beside the same reflexes in C over libbpf.

Blocks of the two programs alternate, each with the machine to itself; the first reflexes after a start are
told apart. Both take their times themselves: the arc in its journal, the peer in memory.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from controlplane.link.records import Effect, Outcome
from controlplane.link.rules import NS, Rate, Rule, Scope, Step
from tests.bench.daemon import Daemon, config, free_port
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import (
    OBJECTS,
    CannotMeasureError,
    cgroup,
    cgroup_mount,
    compiled,
    folder,
    python,
    running,
    start,
    watchdog,
)

COUNT: Final = 2000
BLOCKS: Final = 10
WARM_UP: Final = 10
"""Reflexes after each start that are not counted."""
FREEZE_NS: Final = 4_000_000
FREEZE_GAP_US: Final = 25_000
"""The arc begins no second reflex on the same victim within 20 ms."""
GAP_US: Final = 3000
"""Between reflexes, so that each finds its reader asleep."""
AIM_US: Final = {"idle": 100.0, "loaded": 500.0}
AIM_RATIO: Final = 1.3
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Reflex(NamedTuple):
    """One reflex; CLOCK_MONOTONIC nanoseconds, `effect` 0 when it was not confirmed."""

    event: int
    decided: int
    returned: int
    effect: int


def main(options: Options) -> int:
    """Kill and freeze, idle and loaded."""
    count = options.count or COUNT
    figures: dict[str, Figure] = {}
    for condition in ("idle", "loaded"):
        for act in ("kill", "freeze"):
            with watchdog(120 + count // 2):
                ours, theirs = measure(act, count, loaded=condition == "loaded")
            show(f"{act}, {condition}", ours, theirs)
            figures |= summarise(f"{act}.{condition}", ours, theirs, AIM_US[condition])
    conclude("latency", figures)
    return 0


def measure(act: str, count: int, *, loaded: bool) -> tuple[list[Reflex], list[Reflex]]:
    """At least `count` reflexes of the arc and of the peer, in alternating blocks."""
    ours: list[Reflex] = []
    theirs: list[Reflex] = []
    with oversubscribed() if loaded else ExitStack():
        for block in range(BLOCKS):
            with cgroup(f"{act}-{block}") as victim:
                size = -(-count // BLOCKS) + WARM_UP
                ours += by_arc(act, victim, size, loaded=loaded)[WARM_UP:]
                theirs += by_peer(act, victim, size)[WARM_UP:]
    return ours, theirs


def rule_for(act: str, victim: Path) -> Rule:
    """Fires on the second execution of a process, or on the second fork and every further one."""
    return Rule(
        name="bench",
        signal="process.exec" if act == "kill" else "process.fork",
        per="process" if act == "kill" else "cgroup",
        scope=Scope(cgroups=(f"/{victim.relative_to(cgroup_mount())}",)),
        test=Rate(interval_ns=NS // 10, burst=1),
        ladder=(Step("kill") if act == "kill" else Step("freeze", 0, FREEZE_NS),),
        cooldown_ns=0,
        mode="enforce",
    )


def by_arc(act: str, victim: Path, size: int, *, loaded: bool) -> list[Reflex]:
    """One block by the daemon."""
    with ExitStack() as stack:
        scratch = stack.enter_context(folder())
        settings: dict[str, object] = {}
        if loaded:
            port = free_port()
            sink = python("tests.bench.sink", port, scratch / "received")
            ready(stack.enter_context(running(sink, stdout=subprocess.PIPE)))
            settings["export"] = {"endpoint": f"http://127.0.0.1:{port}"}
        daemon = stack.enter_context(Daemon(config(scratch, **settings), [rule_for(act, victim)]))
        if loaded:
            asking = python("tests.bench.asking", daemon.socket)
            ready(stack.enter_context(running(asking, stdout=subprocess.PIPE)))
        trigger(act, victim, size)
        daemon.stop()
        return reflexes(daemon)


def reflexes(daemon: Daemon) -> list[Reflex]:
    """From the journal, in order of time."""
    effects: dict[bytes, int] = {}
    outcomes: list[Outcome] = []
    for record in daemon.records():
        match record:
            case Effect():
                effects[record.span_id] = record.time_ns
            case Outcome(ok=True):
                outcomes.append(record)
            case _:
                pass
    return [
        Reflex(each.event_ns, each.decided_ns, each.time_ns, effects.get(each.span_id, 0))
        for each in outcomes
    ]


def by_peer(act: str, victim: Path, size: int) -> list[Reflex]:
    """One block by the C program."""
    command = (compiled("reflex"), act, OBJECTS, victim, str(FREEZE_NS))
    with running(command, stdout=subprocess.PIPE) as peer:
        ready(peer)
        trigger(act, victim, size)
        peer.terminate()
        assert peer.stdout is not None
        return [Reflex(*map(int, line.split())) for line in peer.stdout]


def ready(process: "subprocess.Popen[str]") -> None:
    """Returns when the program has said that it is."""
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise CannotMeasureError(f"{process.args!r} did not get ready")


def trigger(act: str, victim: Path, size: int) -> None:
    """Make `size` reflexes happen in the cgroup `victim`."""
    if act == "kill":
        command = (compiled("trigger"), "exec", victim, str(size), str(GAP_US))
    else:
        # The first fork is within the rate.
        gap = str(FREEZE_GAP_US)
        command = (compiled("trigger"), "fork", victim, str(size + 1), gap)
    process = start(command, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    if process.returncode or int(out) < size:
        raise CannotMeasureError(f"{act}: {out.strip()} of {size} reflexes happened")


@contextmanager
def oversubscribed() -> Iterator[None]:
    """Twice as many busy processes as processors."""
    workers = 2 * (os.cpu_count() or 1)
    with running(("stress-ng", "--quiet", "--cpu", str(workers))):
        yield


def series(found: list[Reflex]) -> dict[str, list[float]]:
    """Microseconds, ascending, by stretch of the reflex."""
    return {
        "event -> act returned": sorted((each.returned - each.event) / 1000 for each in found),
        "event -> decision": sorted((each.decided - each.event) / 1000 for each in found),
        "decision -> act returned": sorted((each.returned - each.decided) / 1000 for each in found),
        "event -> effect": sorted((each.effect - each.event) / 1000 for each in found if each.effect),
    }


def show(title: str, ours: list[Reflex], theirs: list[Reflex]) -> None:
    """One table; microseconds."""
    print(f"\n{title}: {len(ours)} reflexes of the arc, {len(theirs)} of the C program, in us")
    print(
        f"  {'':26}"
        + "".join(f"{name:>9}" for name in PERCENTILES)
        + "   C:"
        + f"{'p50':>7}{'p99':>9}{'p99.9':>9}{'max':>9}"
    )
    peers = series(theirs)
    for stretch, values in series(ours).items():
        cells = "".join(f"{percentile(values, share):9.1f}" for share in PERCENTILES.values())
        peer = "".join(f"{percentile(peers[stretch], share):9.1f}" for share in PERCENTILES.values())
        print(f"  {stretch:26}{cells}   {peer}", flush=True)


def summarise(name: str, ours: list[Reflex], theirs: list[Reflex], aim_us: float) -> dict[str, Figure]:
    """Event -> act returned at each percentile; the aim is of P99."""
    mine, peers = series(ours)["event -> act returned"], series(theirs)["event -> act returned"]
    figures = {}
    for label, share in PERCENTILES.items():
        value, peer = percentile(mine, share), percentile(peers, share)
        aim = aim_us if label == "p99" else None
        figures[f"{name}.{label}"] = Figure(value, "us", peer, round(value / peer, 3), aim)
    return figures
