"""Event -> decision -> act returned -> effect, in kernel time, of every act this machine can do (`rows`).

`kill` and `freeze` stand beside the same reflexes in C over libbpf, all other acts beside the arc's own
`freeze`. Blocks of the two programs alternate, one act comes after the other, and the first reflexes after a
start are told apart. Both take their times themselves: the arc in its journal, the peer in memory. Limits and
`deny` are there in an emulated machine: `python -m tests.vm --bench latency 6.1`.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import structs

from controlplane.link.records import Effect, Outcome
from tests.bench.daemon import Daemon, budget, config, free_port
from tests.bench.faults import loop_device
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.rows import BRIEF_NS, ROWS, RULE, Row, interval_ns, lack, rule_for
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
GAP_US: Final = 3000
"""Between reflexes, so that each finds its reader asleep."""
AIM_US: Final = {"idle": 100.0, "loaded": 500.0}
AIM_RATIO: Final = 1.3
READ: Final = 'echo 0 > "$0/cgroup.procs"; exec dd if="$1" of=/dev/null bs=64k status=none'
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Reflex(NamedTuple):
    """One reflex; CLOCK_MONOTONIC nanoseconds, `effect` 0 when it was not confirmed."""

    event: int
    decided: int
    returned: int
    effect: int


def main(options: Options) -> int:
    """Every act, or those that are wanted, idle and loaded."""
    figures: dict[str, Figure] = {}
    wanted = {name: row for name, row in ROWS.items() if not options.only or name in options.only}
    for condition in ("idle", "loaded"):
        of_freeze: list[Reflex] = []
        for group in groups(wanted):
            count = options.count or (COUNT if any(row.peer for row in group.values()) else ALONE)
            with watchdog(options.patience * len(group) * (120 + count)):
                ours, theirs = measure(group, count, options.patience, loaded=condition == "loaded")
            for name, found in ours.items():
                show(f"{name}, {condition}", found, theirs)
                figures |= summarise(f"{name}.{condition}", found, theirs or of_freeze, AIM_US[condition])
            of_freeze = ours.get("freeze", of_freeze)
    conclude("latency", figures)
    return 0


def groups(rows: Mapping[str, Row]) -> Iterator[dict[str, Row]]:
    """What one daemon does: what has a peer or a network is measured alone, all else one by one."""
    together = {name: row for name, row in rows.items() if not row.peer and not row.network}
    yield from ({name: row} for name, row in rows.items() if row.peer)
    if together:
        yield together
    yield from ({name: row} for name, row in rows.items() if row.network)


def measure(
    rows: Mapping[str, Row], count: int, patience: int, *, loaded: bool
) -> tuple[dict[str, list[Reflex]], list[Reflex]]:
    """At least `count` reflexes of each act that can be done here, and of the peer, in alternating blocks."""
    ours: dict[str, list[Reflex]] = {}
    theirs: list[Reflex] = []
    blocks = max(1, count // BLOCK)
    size = -(-count // blocks) + WARM_UP
    with oversubscribed() if loaded else ExitStack():
        for block in range(blocks):
            with ExitStack() as stack:
                victims = {name: stack.enter_context(cgroup(f"{block}-{name}")) for name in rows}
                able = {name: row for name, row in rows.items() if not left_out(name, row, victims[name])}
                for name, row in able.items():
                    stack.enter_context(prepared(row, victims[name]))
                found = by_arc(able, victims, size, patience, loaded=loaded) if able else {}
                for name, row in able.items():
                    ours.setdefault(name, []).extend(found[name][WARM_UP:])
                    if row.peer:
                        theirs += by_peer(row, victims[name], size, patience)[WARM_UP:]
    return ours, theirs


def left_out(name: str, row: Row, victim: Path) -> bool:
    """Whether it cannot be done here, which is told."""
    reason = lack(row, victim)
    if reason:
        print(f"\n{name}: left out, {reason}", flush=True)
    return bool(reason)


@contextmanager
def prepared(row: Row, victim: Path) -> Iterator[None]:
    """What the act needs of the world."""
    with ExitStack() as stack:
        if row.network:
            stack.enter_context(own_namespace())
        if row.device:
            device = stack.enter_context(loop_device())
            # What was read of it is kept for as long as somebody has it open.
            stack.callback(os.close, os.open(device, os.O_RDONLY))
            reading = ("sh", "-c", READ, victim, device)
            stack.enter_context(running(reading)).wait()
        yield


def by_arc(
    rows: Mapping[str, Row], victims: Mapping[str, Path], size: int, patience: int, *, loaded: bool
) -> dict[str, list[Reflex]]:
    """One block by the daemon, act after act."""
    rules = [structs.replace(rule_for(row, victims[name], patience), name=name) for name, row in rows.items()]
    with ExitStack() as stack:
        scratch = stack.enter_context(folder())
        settings: dict[str, object] = {"self_budget": budget(patience)}
        if loaded:
            port = free_port()
            sink = python("tests.bench.sink", port, scratch / "received")
            ready(stack.enter_context(running(sink, stdout=subprocess.PIPE)))
            settings["export"] = {"endpoint": f"http://127.0.0.1:{port}"}
        daemon = stack.enter_context(Daemon(config(scratch, **settings), rules))
        if loaded:
            asking = python("tests.bench.asking", daemon.socket)
            ready(stack.enter_context(running(asking, stdout=subprocess.PIPE)))
        if any(row.network for row in rows.values()):
            daemon.await_said("messages.encoded")
        for name, row in rows.items():
            trigger(row, victims[name], size, patience)
        daemon.stop()
        found = {name: reflexes(daemon, name) for name in rows}
    if missing := [name for name, each in found.items() if len(each) <= WARM_UP]:
        raise CannotMeasureError(f"hardly any reflex is in the journal: {', '.join(missing)}")
    return found


def reflexes(daemon: Daemon, rule: str = RULE) -> list[Reflex]:
    """Of a rule, from the journal, in order of time."""
    effects: dict[bytes, int] = {}
    outcomes: list[Outcome] = []
    for record in daemon.records():
        match record:
            case Effect():
                effects[record.span_id] = record.time_ns
            case Outcome(ok=True) if record.rule == rule:
                outcomes.append(record)
            case _:
                pass
    return [
        Reflex(each.event_ns, each.decided_ns, each.time_ns, effects.get(each.span_id, 0))
        for each in outcomes
    ]


def by_peer(row: Row, victim: Path, size: int, patience: int) -> list[Reflex]:
    """One block by the C program."""
    command = (compiled("reflex"), row.peer, OBJECTS, victim)
    times = str(BRIEF_NS), str(interval_ns(row, patience))
    with running((*command, *times), stdout=subprocess.PIPE) as peer:
        ready(peer)
        trigger(row, victim, size, patience)
        peer.terminate()
        assert peer.stdout is not None
        return [Reflex(*map(int, line.split())) for line in peer.stdout]


def ready(process: "subprocess.Popen[str]") -> None:
    """Returns when the program has said that it is."""
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise CannotMeasureError(f"{process.args!r} did not get ready")


def trigger(row: Row, victim: Path, size: int, patience: int = 1) -> None:
    """Make `size` reflexes happen in the cgroup `victim`."""
    # The first fork, or the first execution of one process, is within the rate.
    times, gap_us = (size, GAP_US) if row.way == "exec" else (size + 1, row.gap_us)
    words = (row.way, victim, str(times), str(patience * gap_us))
    process = start((compiled("trigger"), *words), stdout=subprocess.PIPE)
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
    """Event -> act returned at each percentile; the aim is of P99. Decision and effect at the median.

    `theirs` are what stands beside it, if anything does.
    """
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
