"""A restart, as an upgrade does it: for how long nothing is felt, and whether anything is lost or left.

Something forks all the time in a cgroup. The gap is the time, in the kernel's clock, from the last fork that
the old daemon told of to the first that the new one did.
"""

import subprocess
from collections.abc import Sequence
from typing import Final

from controlplane.link.records import Notice, Record
from tests.bench.daemon import Daemon, config, journalled
from tests.bench.faults import path_of
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import await_cgroup, cgroup, compiled, folder, running, watchdog
from tests.upgrading import FELT, FROZEN, Place, gap_ns

ROUNDS: Final = 20
GAP_US: Final = 5_000
"""Between two forks: as finely is the gap measured."""


def main(options: Options) -> int:
    """Rounds of a restart with all that is then in force."""
    gaps: list[float] = []
    starts: list[float] = []
    lost = frozen = 0
    rounds = options.count or ROUNDS
    for _ in range(rounds):
        with watchdog(120):
            gap, start, missing, left = restarted()
        gaps.append(gap)
        starts.append(start)
        lost, frozen = lost + missing, frozen + left
    gaps.sort()
    starts.sort()
    conclude(
        "upgrade",
        {
            "gap.p50": Figure(percentile(gaps, 0.5), "ms"),
            "gap.max": Figure(gaps[-1], "ms"),
            "of_it.start.p50": Figure(percentile(starts, 0.5), "ms"),
            "restarts": Figure(rounds, "times"),
            "records_lost": Figure(lost, "records", aim=0),
            "left_frozen": Figure(frozen, "cgroups", aim=0),
        },
    )
    return 0


def restarted() -> tuple[float, float, int, bool]:
    """(gap ms, of it from execution to armed ms, records lost, whether a frozen cgroup was left so)."""
    with cgroup("felt") as place, cgroup("frozen") as victim, folder() as scratch:
        settings = config(scratch)
        policies = scratch / "policies.d"
        policies.mkdir()
        (policies / "felt.yaml").write_text(FELT.format(path=path_of(place)))
        (policies / "frozen.yaml").write_text(FROZEN.format(path=path_of(victim)))
        daemon = Enforcing(settings)
        daemon.start()
        trigger = compiled("trigger")
        steady = (trigger, "fork", place, "1000000", str(GAP_US))
        with (
            running(steady, stdout=subprocess.DEVNULL),
            running((trigger, "fork", victim, "1000", "1000"), stdout=subprocess.DEVNULL),
        ):
            await_cgroup(victim, "frozen 1")
            daemon.stop()
            left = "frozen 1" in (victim / "cgroup.events").read_text()
            daemon.start()
            daemon.await_said("finding: felt")
        daemon.stop()
        records = journalled(settings)
    old, new = sorted({instance for (instance, _), _ in records})
    start_ns = _armed_ns(records, new) - daemon.exec_ns
    lost = _lost([place for place, _ in records])
    return gap_ns(records, old, new) / 1e6, start_ns / 1e6, lost, left


class Enforcing(Daemon):
    """Started as a person does it who lets it act."""

    def _launcher(self) -> list[str]:
        return [*super()._launcher(), "--mode", "enforce"]


def _armed_ns(records: Sequence[tuple[Place, Record]], instance: int) -> int:
    """When that one was."""
    return next(
        record.time_ns
        for (writer, _), record in records
        if writer == instance and isinstance(record, Notice) and record.name == "arc.armed"
    )


def _lost(places: Sequence[Place]) -> int:
    """Numbers that are missing between those that each of the two has given."""
    given: dict[int, list[int]] = {}
    for instance, index in places:
        given.setdefault(instance, []).append(index)
    return sum(max(indexes) + 1 - len(indexes) for indexes in given.values())
