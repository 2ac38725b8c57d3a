"""Memory pressure: how soon the share of time in which a cgroup waits tells that it has too little memory.

The rule is that of oomd: much now, and much on average over a minute. Some cgroups at a time, each by itself,
touch more than their memory.high, and are slowed down for it: `python -m tests.vm --bench pressure 6.1`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.faults import Subject, path_of, program
from tests.bench.learned import Learner, cgroup_key, learners
from tests.bench.real import COUNT, Found, await_found, describe, summarise
from tests.bench.report import Options, conclude
from tests.bench.testbed import CannotMeasureError, cgroup, watchdog

AT_ONCE: Final = 4
FOUND_S: Final = 60
LIMIT: Final = 24 << 20
MIB: Final = 256
"""That each touches, were it not slowed down."""


def main(options: Options) -> int:
    """Wave after wave, each of fresh cgroups."""
    count = options.count or COUNT
    waves = -(-count // AT_ONCE)
    found: list[Found | None] = []
    with watchdog(60 + waves * 2 * FOUND_S), learners("1s", {"floor": ("memory-pressure",)}) as (learner,):
        for _ in range(waves):
            found += wave(learner)
    conclude("pressure", summarise("memory pressure", {"floor": found}))
    return 0


def wave(learner: Learner) -> Iterator[Found | None]:
    """So many faults at a time."""
    begun: list[tuple[Subject, int]] = []
    with ExitStack() as stack:
        for number in range(AT_ONCE):
            place = stack.enter_context(cgroup(f"memory-{number}"))
            subject = Subject("memory-pressure", cgroup_key(place), path_of(place), partial(squeezed, place))
            begun.append((subject, stack.enter_context(subject.fault())))
        for subject, began_ns in begun:
            finding = await_found(learner, subject, began_ns, FOUND_S)
            found = describe(learner, finding, began_ns, 0) if finding else None
            print(f"  {subject.path}: {f'{found.ms:.0f} ms' if found else 'missed'}", flush=True)
            yield found


@contextmanager
def squeezed(place: Path) -> Iterator[int]:
    """From when on."""
    limit = place / "memory.high"
    if not limit.exists():
        raise CannotMeasureError(
            "cgroup2 has no memory controller here: `python -m tests.vm --bench pressure`"
        )
    limit.write_text(str(LIMIT))
    with program(place, "grow", MIB, 0) as (_, began_ns):
        yield began_ns
