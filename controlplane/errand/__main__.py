"""`python -m controlplane.errand`: reads its order, does it within its time, writes its report."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final, Never, assert_never

from controlplane.errand import alarm
from controlplane.errand.evidence import gather
from controlplane.errand.hook import run
from controlplane.errand.reclaim import reclaim
from controlplane.link.capabilities import Capability, keep_only
from controlplane.link.credentials import die_with_parent
from controlplane.link.errands import (
    ENCODER,
    ORDER_FD,
    ORDERS,
    REPORT_FD,
    Gather,
    Order,
    Reclaim,
    Report,
    Run,
)

MAX_ORDER: Final = 64 * 1024
NEEDED: Final[Mapping[type[Reclaim | Run | Gather], frozenset[Capability]]] = {
    Reclaim: frozenset(),  # it has the open file
    Run: frozenset(Capability),  # where the policy says so the program is root; else it is less, see `run`
    Gather: frozenset(
        {Capability.DAC_OVERRIDE, Capability.DAC_READ_SEARCH, Capability.SYS_PTRACE, Capability.SYS_ADMIN}
    ),  # /proc of others, their stacks, a folder in the plane's
}


def main() -> int:
    """One errand."""
    # The arc is the last to be killed for want of memory; this process can be done without.
    Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
    signal.signal(signal.SIGTERM, _stop)
    die_with_parent(signal.SIGTERM)
    order = ORDERS.decode(os.pread(ORDER_FD, MAX_ORDER, 0))
    keep_only(NEEDED[type(order.errand)])
    alarm.arm(order.timeout_ns)
    report = carry_out(order)
    alarm.disarm()
    os.write(REPORT_FD, ENCODER.encode(report))
    return 0


def carry_out(order: Order) -> Report:
    """Each stops when the alarm comes, and reports what it has come to."""
    match order.errand:
        case Reclaim() as errand:
            return reclaim(errand)
        case Run() as errand:
            return run(errand)
        case Gather() as errand:
            return gather(errand)
        case _:
            assert_never(order.errand)


def _stop(_number: int, _frame: FrameType | None) -> Never:
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
