"""SIGKILL of the plane in a storm, of the arc while a cgroup is frozen: what is missed, lost, left behind."""

import os
import signal
import subprocess
import time
from typing import Final

from msgspec import structs

from controlplane.link.records import Notice, Outcome, Undo
from controlplane.link.rules import NS, Step
from tests.bench.daemon import Daemon, config, journalled
from tests.bench.report import Figure, Options, conclude
from tests.bench.rows import ROWS, rule_for
from tests.bench.testbed import (
    CannotMeasureError,
    await_cgroup,
    cgroup,
    compiled,
    folder,
    running,
    start,
    watchdog,
)

ROUNDS: Final = 20
STORM: Final = 200
"""Processes killed in one round, while the plane is killed KILLS times."""
KILLS: Final = 3
SPELL_S: Final = 0.3
"""Between the kills of one round."""
LONG_NS: Final = 600 * NS


def main(options: Options) -> int:
    """Both kinds of crash."""
    rounds = options.count or ROUNDS
    killed = missed = lost = thawed = told = 0
    took: list[float] = []
    for _ in range(rounds):
        with watchdog(120):
            round_killed, round_missed, round_lost = plane_dies()
            round_thawed, round_told, seconds = arc_dies()
        killed += round_killed
        missed, lost = missed + round_missed, lost + round_lost
        thawed, told = thawed + round_thawed, told + round_told
        took.append(seconds)
    conclude(
        "crash",
        {
            "plane.killed": Figure(killed, "times"),
            "plane.reflexes": Figure(rounds * STORM, "due"),
            "plane.reflexes_missed": Figure(missed, "reflexes", aim=0),
            "plane.records_lost": Figure(lost, "records", aim=0),
            "arc.killed": Figure(rounds, "times"),
            "arc.not_thawed": Figure(rounds - thawed, "cgroups", aim=0),
            "arc.not_told": Figure(rounds - told, "times", aim=0),
            "arc.start_to_thawed": Figure(sorted(took)[len(took) // 2], "ms"),
        },
    )
    return 0


def plane_dies() -> tuple[int, int, int]:
    """(planes killed, reflexes missed, records lost) of one storm."""
    killed = 0
    with cgroup("storm") as place, folder() as scratch:
        settings = config(scratch)
        with Daemon(settings, [rule_for(ROWS["kill"], place)]) as daemon:
            daemon.await_serving()
            command = (compiled("trigger"), "exec", place, str(STORM), "1000")
            storm = start(command, stdout=subprocess.PIPE)
            for _ in range(KILLS):
                time.sleep(SPELL_S)
                if plane := daemon.plane_pid:
                    os.kill(plane, signal.SIGKILL)
                    killed += 1
            out, _ = storm.communicate()
            daemon.await_serving()
        records = journalled(settings)
    indexes = [index for (_, index), _ in records]
    done = sum(isinstance(record, Outcome) and record.ok for _, record in records)
    return killed, STORM - min(int(out), done), max(indexes) + 1 - len(indexes)


def arc_dies() -> tuple[bool, bool, float]:
    """Whether the next start thawed the cgroup and said so, and milliseconds from its start to the thaw."""
    with cgroup("frozen") as place, folder() as scratch:
        settings = config(scratch)
        ladder = (Step("freeze", 0, LONG_NS),)
        daemon = Daemon(settings, [structs.replace(rule_for(ROWS["freeze"], place), ladder=ladder)])
        daemon.start()
        with running((compiled("trigger"), "fork", place, "1000", "1000"), stdout=subprocess.DEVNULL):
            await_cgroup(place, "frozen 1")
            daemon.kill()
            if "frozen 1" not in (place / "cgroup.events").read_text():
                raise CannotMeasureError("the cgroup thawed when the arc died")
            with Daemon(settings, []) as successor:
                await_cgroup(place, "frozen 0")
        records = [record for _, record in journalled(settings)]
    undone = [record for record in records if isinstance(record, Undo) and record.reason == "restart"]
    told = any(isinstance(record, Notice) and record.name == "arc.recovered" for record in records)
    return len(undone) == 1 and undone[0].ok, told, (undone[0].time_ns - successor.exec_ns) / 1e6
