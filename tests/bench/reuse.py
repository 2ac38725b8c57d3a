"""Pids that change hands between event and act: whoever has the pid now is never taken for who had it.

A culprit executes a program and is gone within 0.4 ms, and at once an innocent begins with that very pid
(clone3 with set_tid, so nobody waits until pids wrap around). The rule fires on every execution: it reweighs,
stops and kills.
"""

import subprocess
from collections import Counter
from pathlib import Path
from typing import Final

from controlplane.link.amounts import Amount
from controlplane.link.records import GuardRefused, Intent, Outcome
from controlplane.link.rules import NS, WHOLE, Rate, Rule, Scope, Step
from tests.bench.daemon import Daemon, config
from tests.bench.faults import path_of
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import CannotMeasureError, cgroup, compiled, folder, start, watchdog

TRIES: Final = 10_000
BRIEF_NS: Final = 50_000_000
INNOCENT_US: Final = 1500
HARMS: Final = ("killed", "stopped", "reweighed")
LADDER: Final = (
    Step("reweigh", for_ns=BRIEF_NS, amounts=(Amount("nice", 10),)),
    Step("freeze", for_ns=BRIEF_NS),
    Step("kill"),
)


def main(options: Options) -> int:
    """All tries under one daemon."""
    tries = options.count or TRIES
    limit = watchdog(options.patience * (120 + tries // 10))
    with limit, folder() as scratch, cgroup("culprits") as culprits:
        # Nothing may be shed, or hardly any try is acted upon.
        settings = config(scratch, self_budget=WHOLE)
        with cgroup("innocents") as innocents, Daemon(settings, [rule(culprits)]) as daemon:
            killed, harmed = provoke(culprits, innocents, tries, INNOCENT_US * options.patience)
        records = daemon.records()
    refused = Counter(each.guard for each in records if isinstance(each, GuardRefused))
    failed = Counter(each.error for each in records if isinstance(each, Outcome) and not each.ok)
    print(f"\n{tries} tries; refused: {dict(refused)}; failed: {dict(failed)}")
    acts = sum(isinstance(each, Intent) for each in records)
    conclude(
        "reuse",
        {
            "tries": Figure(tries, "1"),
            "acts_tried": Figure(acts, "1"),
            "culprits_killed": Figure(killed, "processes"),
            "came_too_late": Figure(refused["gone"] + sum(failed.values()), "acts"),
            **{f"innocents_{harm}": Figure(number, "processes", aim=0) for harm, number in harmed.items()},
        },
    )
    return 0


def rule(culprits: Path) -> Rule:
    """Fires on each execution."""
    return Rule(
        name="reuse",
        signal="process.exec",
        per="process",
        scope=Scope(cgroups=(path_of(culprits),)),
        test=Rate(interval_ns=NS, burst=0),
        ladder=LADDER,
        cooldown_ns=0,
        mode="enforce",
    )


def provoke(culprits: Path, innocents: Path, tries: int, lives_us: int) -> tuple[int, dict[str, int]]:
    """(culprits killed, innocents by what happened to them in so long a life)."""
    command = (compiled("reuse"), culprits, innocents, str(tries), str(lives_us))
    process = start(command, stdout=subprocess.PIPE)
    out, _ = process.communicate()
    if process.returncode:
        raise CannotMeasureError(f"the program that has pids reused ended with {process.returncode}")
    killed, *harmed = map(int, out.split())
    return killed, dict(zip(HARMS, harmed, strict=True))
