"""Event -> decision -> act returned -> effect, in kernel time, of every act this machine can do (`rows`).

`kill` and `freeze` stand beside the same reflexes in C over libbpf. Blocks of the two programs alternate,
each with the machine to itself; the first reflexes after a start are told apart. Both take their times
themselves: the arc in its journal, the peer in memory. Limits are there in an emulated machine:
`python -m tests.vm --bench latency 6.1`.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from controlplane.link.records import Effect, Outcome
from tests.bench.daemon import Daemon, config, free_port
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.rows import BRIEF_NS, ROWS, Row, rule_for
from tests.bench.testbed import (
    OBJECTS,
    CannotMeasureError,
    cgroup,
    compiled,
    folder,
    python,
    running,
    start,
    watchdog,
)
from tests.namespaces import own_namespace

COUNT: Final = 2000
ALONE: Final = 500
"""Of an act without a peer."""
BLOCK: Final = 200
"""Reflexes of one start, without those that are not counted."""
WARM_UP: Final = 10
"""Reflexes after each start that are not counted."""
AGAIN_GAP_US: Final = 25_000
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
    """Every act, idle and loaded."""
    figures: dict[str, Figure] = {}
    for condition in ("idle", "loaded"):
        for name, row in ROWS.items():
            count = options.count or (COUNT if row.peer else ALONE)
            with watchdog(120 + count):
                measured = measure(row, count, loaded=condition == "loaded")
            if measured is None:
                print(f"\n{name}: left out, no {row.needs} here", flush=True)
                continue
            show(f"{name}, {condition}", *measured)
            figures |= summarise(f"{name}.{condition}", *measured, AIM_US[condition])
    conclude("latency", figures)
    return 0


def measure(row: Row, count: int, *, loaded: bool) -> tuple[list[Reflex], list[Reflex]] | None:
    """At least `count` reflexes of each, in alternating blocks; None where the act cannot be done."""
    ours: list[Reflex] = []
    theirs: list[Reflex] = []
    blocks = max(1, count // BLOCK)
    with oversubscribed() if loaded else ExitStack():
        for block in range(blocks):
            with cgroup(f"latency-{block}") as victim:
                if row.needs and not (victim / row.needs).exists():
                    return None
                size = -(-count // blocks) + WARM_UP
                with own_namespace() if row.network else ExitStack():
                    ours += by_arc(row, victim, size, loaded=loaded)[WARM_UP:]
                if row.peer:
                    theirs += by_peer(row, victim, size)[WARM_UP:]
    return ours, theirs


def by_arc(row: Row, victim: Path, size: int, *, loaded: bool) -> list[Reflex]:
    """One block by the daemon."""
    with ExitStack() as stack:
        scratch = stack.enter_context(folder())
        settings: dict[str, object] = {}
        if loaded:
            port = free_port()
            sink = python("tests.bench.sink", port, scratch / "received")
            ready(stack.enter_context(running(sink, stdout=subprocess.PIPE)))
            settings["export"] = {"endpoint": f"http://127.0.0.1:{port}"}
        daemon = stack.enter_context(Daemon(config(scratch, **settings), [rule_for(row, victim)]))
        if loaded:
            asking = python("tests.bench.asking", daemon.socket)
            ready(stack.enter_context(running(asking, stdout=subprocess.PIPE)))
        if row.network:
            daemon.await_said("messages.encoded")
        trigger(row, victim, size)
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


def by_peer(row: Row, victim: Path, size: int) -> list[Reflex]:
    """One block by the C program."""
    command = (compiled("reflex"), row.peer, OBJECTS, victim, str(BRIEF_NS))
    with running(command, stdout=subprocess.PIPE) as peer:
        ready(peer)
        trigger(row, victim, size)
        peer.terminate()
        assert peer.stdout is not None
        return [Reflex(*map(int, line.split())) for line in peer.stdout]


def ready(process: "subprocess.Popen[str]") -> None:
    """Returns when the program has said that it is."""
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise CannotMeasureError(f"{process.args!r} did not get ready")


def trigger(row: Row, victim: Path, size: int) -> None:
    """Make `size` reflexes happen in the cgroup `victim`."""
    # The first fork, or the first execution of one process, is within the rate.
    words = (str(size), str(GAP_US)) if row.way == "exec" else (str(size + 1), str(AGAIN_GAP_US))
    process = start((compiled("trigger"), row.way, victim, *words), stdout=subprocess.PIPE)
    out, _ = process.communicate()
    if process.returncode or int(out) < size:
        raise CannotMeasureError(f"{row.step.act}: {out.strip()} of {size} reflexes happened")


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
    peer = f", {len(theirs)} of the C program" if theirs else ""
    print(f"\n{title}: {len(ours)} reflexes of the arc{peer}, in us")
    head = "".join(f"{name:>9}" for name in PERCENTILES)
    print(f"  {'':26}{head}{'   C:' + head if theirs else ''}")
    peers = series(theirs)
    for stretch, values in series(ours).items():
        beside = f"     {_cells(peers[stretch])}" if theirs else ""
        print(f"  {stretch:26}{_cells(values)}{beside}", flush=True)


def _cells(values: Sequence[float]) -> str:
    if not values:
        return "     none"
    return "".join(f"{percentile(values, share):9.1f}" for share in PERCENTILES.values())


def summarise(name: str, ours: list[Reflex], theirs: list[Reflex], aim_us: float) -> dict[str, Figure]:
    """Event -> act returned at each percentile; the aim is of P99. Decision and effect at the median."""
    stretches, peers = series(ours), series(theirs)["event -> act returned"]
    figures = {}
    for label, share in PERCENTILES.items():
        value = percentile(stretches["event -> act returned"], share)
        peer = percentile(peers, share) if peers else None
        ratio = round(value / peer, 3) if peer else None
        figures[f"{name}.{label}"] = Figure(value, "us", peer, ratio, aim_us if label == "p99" else None)
    for label, stretch in (("decided", "event -> decision"), ("effect", "event -> effect")):
        if stretches[stretch]:
            figures[f"{name}.{label}.p50"] = Figure(percentile(stretches[stretch], 0.5), "us")
    return figures
