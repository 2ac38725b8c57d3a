"""Memory pressure: how soon the share of time in which a cgroup waits for memory tells of its thrashing.

The rule is that of oomd: much now, and much on average over a minute. Some cgroups thrash at a time, each by
itself. Needs a memory controller in cgroup2: `python -m tests.vm --bench pressure 6.1`.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from tests.bench.faults import Subject
from tests.bench.learned import Learner, learners
from tests.bench.real import COUNT, Found, await_found, describe, summarise
from tests.bench.report import Options, conclude
from tests.bench.testbed import watchdog
from tests.bench.thrash import streaming, subject

AT_ONCE: Final = 4
FOUND_S: Final = 60
READS_PER_S: Final = "200"
"""Of a disk that turns."""


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
            whose = subject(
                "memory-pressure", *stack.enter_context(streaming(f"memory-{number}", READS_PER_S))
            )
            begun.append((whose, stack.enter_context(whose.fault())))
        for whose, began_ns in begun:
            finding = await_found(learner, whose, began_ns, FOUND_S)
            found = describe(learner, finding, began_ns, 0) if finding else None
            print(f"  {whose.path}: {f'{found.ms:.0f} ms' if found else 'missed'}", flush=True)
            yield found
