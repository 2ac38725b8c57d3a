"""A collector that is killed, hung, poisoned and restarted at random, a plane killed at random: what arrives.

`--count` records, with a kill for each two thousand.
"""

import asyncio
import time
from random import Random
from typing import Final

from tests.bench.report import Figure, Options, conclude
from tests.plane.torture import Torture, torture

RECORDS: Final = 100_000
RECORDS_A_KILL: Final = 2_000
LONGEST_S: Final = 900


def main(options: Options) -> int:
    """Exit code 1 when a record is missing, out of order, or wrongly put aside."""
    records = options.count or RECORDS
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    began = time.monotonic()
    run = torture(records, records // RECORDS_A_KILL, Random(seed))
    done = asyncio.run(asyncio.wait_for(run, LONGEST_S))
    return _conclude(done, time.monotonic() - began)


def _conclude(done: Torture, took_s: float) -> int:
    for name, count in sorted(done.faults.items()):
        print(f"{count:6}  {name}")
    lost = done.written - done.distinct
    misplaced = abs(done.poisoned - done.dead_letters)
    conclude(
        "torture",
        {
            "written": Figure(done.written, "records"),
            "kills of the plane": Figure(done.kills, "times"),
            "faults of the collector": Figure(sum(done.faults.values()), "times"),
            "lost": Figure(lost, "records", aim=0),
            "out of order in their reflex": Figure(done.out_of_order, "records", aim=0),
            "repeated, same uid": Figure(done.repeats, "records"),
            "poisoned": Figure(done.poisoned, "records"),
            "poisoned and not put aside": Figure(misplaced, "records", aim=0),
            "time": Figure(took_s, "s"),
        },
    )
    return 1 if lost or done.out_of_order or misplaced else 0
