"""Memory thrash: how soon learned stalls for reclaim tell of a cgroup that may hold too little.

Needs a memory controller in cgroup2, as emulated machines have: `python -m tests.vm --bench thrash 6.1`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.faults import Kind, Subject, loop_device, path_of, program
from tests.bench.learned import ALLOWED_PER_S, Learner, Sets, cgroup_key, learners
from tests.bench.real import COUNT, inflict, is_learned, summarise
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import CannotMeasureError, cgroup, watchdog

SETS: Final[Sets] = {"floor": ("reclaim-stall", "memory-pressure"), "plain": ("reclaim-stall",)}
HEALTHY_S: Final = 120
SERVICES: Final = 3
"""In cgroups of their own, healthy side by side."""
LIMIT: Final = 24 << 20
"""Bytes a cgroup may hold; the device that it reads is larger."""
GAP_US: Final = 1000
THRASHERS: Final = 4
FOUND_S: Final = 20


def main(options: Options) -> int:
    """Healthy first, then faults."""
    count, seconds = options.count or COUNT, options.seconds or HEALTHY_S
    with watchdog(seconds + 300):
        figures = healthy(seconds)
    figures |= summarise("memory thrash", inflict(Kind(memory, fresh=True, found_s=FOUND_S), count, SETS))
    conclude("thrash", figures)
    return 0


def healthy(seconds: int) -> dict[str, Figure]:
    """Findings while some services read more than they may keep, and none is short of memory."""
    with ExitStack() as stack:
        both = stack.enter_context(learners("1m", SETS))
        places = [stack.enter_context(streaming(f"service-{number}")) for number in range(SERVICES)]
        time.sleep(seconds)
        figures: dict[str, Figure] = {}
        for learner in both:
            figures |= account(learner, [place for place, _ in places], seconds)
        return figures


def account(learner: Learner, places: Sequence[Path], seconds: int) -> dict[str, Figure]:
    """By policy: findings of these cgroups, and how many of their streams might have fired."""
    figures: dict[str, Figure] = {}
    keys = [cgroup_key(place) for place in places]
    for policy in learner.policies:
        mine = [each for each in learner.findings() if each.rule == policy and each.cgroup in keys]
        for each in mine:
            print(f"  {learner.name} {policy}: {each.path}, {each.value:.6g} {each.unit}")
        learned = sum(is_learned(learner, policy, key) for key in keys)
        name = f"healthy.{learner.name}.{policy}"
        print(f"{learner.name} {policy}: {len(mine)} findings in {seconds} s, {learned} of {len(keys)} armed")
        figures[f"{name}.findings"] = Figure(len(mine), "1", aim=round(seconds * ALLOWED_PER_S, 3))
        figures[f"{name}.armed"] = Figure(learned, f"of {len(keys)}")
    return figures


@contextmanager
def memory() -> Iterator[Subject]:
    """A service that reads on and on; then, in its cgroup, some that need all of what was read at once."""
    with streaming("memory") as (place, device):
        fault = partial(thrashing, place, device)
        yield Subject("reclaim-stall", cgroup_key(place), path_of(place), fault)


@contextmanager
def thrashing(place: Path, device: str) -> Iterator[int]:
    """From when on."""
    with program(place, "thrash", device, THRASHERS) as (_, began_ns):
        yield began_ns


@contextmanager
def streaming(name: str) -> Iterator[tuple[Path, str]]:
    """A cgroup with little memory, in which a device is read through the page cache; and the device."""
    with cgroup(name) as place, loop_device() as device:
        limit = place / "memory.max"
        if not limit.exists():
            raise CannotMeasureError(
                "cgroup2 has no memory controller here: `python -m tests.vm --bench thrash`"
            )
        limit.write_text(str(LIMIT))
        with program(place, "stream", device, GAP_US):
            yield place, device
