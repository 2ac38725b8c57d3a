"""Decision -> signal sent, of one policy carried out by the kernel, and of the same by the arc.

`kill` of a process on its second execution. Blocks alternate, each with the machine to itself; both tell
their times in the journal, those of the kernel taken in the hook.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from controlplane.link.rules import NS, Rate, Where
from tests.bench.daemon import Daemon, config
from tests.bench.latency import Reflex, oversubscribed, reflexes, series, trigger
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.rows import ROWS, rule_for
from tests.bench.testbed import cgroup, folder, watchdog

COUNT: Final = 2000
BLOCKS: Final = 5
WARM_UP: Final = 10
"""Reflexes after each start that are not counted."""
AIM_US: Final = 5.0
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
STRETCHES: Final = ("decision -> act returned", "event -> act returned", "event -> effect")


def main(options: Options) -> int:
    """Idle, and with twice as many busy processes as processors."""
    count = options.count or COUNT
    figures: dict[str, Figure] = {}
    for condition in ("idle", "loaded"):
        with watchdog(240 + count // 2):
            kernel, arc = measure(count, loaded=condition == "loaded")
        show(condition, kernel, arc)
        figures |= summarise(condition, kernel, arc)
    conclude("inkernel", figures)
    return 0


def measure(count: int, *, loaded: bool) -> tuple[list[Reflex], list[Reflex]]:
    """At least `count` reflexes of each, in alternating blocks."""
    kernel: list[Reflex] = []
    arc: list[Reflex] = []
    size = -(-count // BLOCKS) + WARM_UP
    with oversubscribed() if loaded else ExitStack():
        for block in range(BLOCKS):
            with cgroup(f"inkernel-{block}") as victim:
                kernel += block_of("kernel", victim, size)[WARM_UP:]
                arc += block_of("userspace", victim, size)[WARM_UP:]
    return kernel, arc


def block_of(where: Where, victim: Path, size: int) -> list[Reflex]:
    """One daemon, one policy, `size` reflexes."""
    # Under load a second may pass between two executions of a process.
    test = Rate(interval_ns=10 * NS, burst=1)
    rule = msgspec.structs.replace(rule_for(ROWS["kill"], victim), where=where, test=test)
    with folder() as scratch:
        settings = config(scratch)
        with Daemon(settings, [rule]) as daemon:
            trigger(ROWS["kill"], victim, size)
            daemon.stop()
            return reflexes(daemon)


def show(condition: str, kernel: list[Reflex], arc: list[Reflex]) -> None:
    """One table; microseconds."""
    head = "".join(f"{name:>9}" for name in PERCENTILES)
    print(f"\nkill, {condition}: {len(kernel)} reflexes of the kernel, {len(arc)} of the arc, in us")
    print(f"  {'':26}{head}   arc:{head}")
    ours, theirs = series(kernel), series(arc)
    for stretch in STRETCHES:
        rows = (
            "".join(f"{percentile(each[stretch], share):9.1f}" for share in PERCENTILES.values())
            for each in (ours, theirs)
        )
        print(f"  {stretch:26}{'       '.join(rows)}", flush=True)


def summarise(condition: str, kernel: list[Reflex], arc: list[Reflex]) -> dict[str, Figure]:
    """Decision -> signal sent at each percentile; the aim is of P99. Event -> gone, the peer's beside it."""
    figures: dict[str, Figure] = {}
    for name, stretch in (("sent", STRETCHES[0]), ("gone", STRETCHES[2])):
        ours, theirs = series(kernel)[stretch], series(arc)[stretch]
        for label, share in PERCENTILES.items():
            value, peer = percentile(ours, share), percentile(theirs, share)
            aim = AIM_US if (name, label) == ("sent", "p99") else None
            figures[f"{name}.{condition}.{label}"] = Figure(value, "us", peer, round(value / peer, 4), aim)
    return figures
