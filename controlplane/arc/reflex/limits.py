"""Limits of a cgroup: CPU time, memory, processes, disk. A limit that is lower already stays."""

import os
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.control_files import ControlFiles, must_read_value
from controlplane.arc.reflex.acts import AbsentError, Opened
from controlplane.arc.reflex.values import FLAGS, CgroupValues, Setting, must_get
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import Step

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
LEAST_QUOTA_US: Final = 1000
"""Less than a millisecond a period cpu.max does not take."""
WHOLE: Final = 10_000
MAX_DEVICES: Final = 16
IO_MAX: Final = "io.max "
KEYS: Final = {"rbps": "read", "wbps": "write"}


def must_cpu(before: str, amount: Amount, used: int) -> str:
    """cpu.max: time and period, in microseconds. The period stays."""
    quota, _, period = before.partition(" ")
    wanted = amount.number * int(period) // WHOLE
    if wanted < LEAST_QUOTA_US:
        wanted = LEAST_QUOTA_US
    return before if must_is_lower(quota, wanted) else (b"%d %d" % (wanted, int(period))).decode()


def must_memory(before: str, amount: Amount, used: int) -> str:
    """memory.high, in whole pages."""
    wanted = used * amount.number // WHOLE if amount.way else amount.number
    return _must_lower(before, wanted - wanted % PAGE)


def must_pids(before: str, amount: Amount, used: int) -> str:
    """pids.max."""
    return _must_lower(before, used + amount.number if amount.key == "more" else amount.number)


def must_is_lower(limit: str, wanted: int) -> bool:
    """Whether a limit that is there already is stricter."""
    return limit != "max" and int(limit) <= wanted


def _must_lower(before: str, wanted: int) -> str:
    return before if must_is_lower(before, wanted) else (b"%d" % wanted).decode()


CPU: Final = {"max": Setting("cpu.max", must_cpu)}
MEMORY: Final = {"max": Setting("memory.high", must_memory, "memory.current")}
PIDS: Final = {
    "max": Setting("pids.max", must_pids, "pids.current"),
    "more": Setting("pids.max", must_pids, "pids.current"),
}


class LimitIo(CgroupValues):
    """io.max of every device that the cgroup has used; each device is a value of its own."""

    def __init__(self, cgroups: Cgroups) -> None:
        files = {
            "io.max": ControlFiles(cgroups, "io.max", FLAGS),
            "io.stat": ControlFiles(cgroups, "io.stat", os.O_RDONLY),
        }
        super().__init__("limit-io", cgroups, {}, files)

    def prepare(self, cgroup: int, step: Step) -> None:
        """See `Act`."""
        for files in self._files.values():
            files.prepare(cgroup)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        fd = self._must_get("io.max", victim.cgroup)
        used = must_read_value(self._must_get("io.stat", victim.cgroup))
        fds: tuple[int, ...] = ()
        changes: tuple[Change, ...] = ()
        for line in used.split("\n")[:MAX_DEVICES]:
            device = line.partition(" ")[0]
            if device:
                what = IO_MAX + device
                before = must_get(fd, what)
                fds += (fd,)
                changes += (Change(what, before, must_io(before, step.amounts)),)
        if not changes:
            raise AbsentError("the cgroup has used no device so far")
        return Opened(fds, changes)


def must_io(before: str, amounts: tuple[Amount, ...]) -> str:
    """A line of io.max with these limits, in bytes a second."""
    after, _, fields = before.partition(" ")
    for field in fields.split(" "):
        name, _, limit = field.partition("=")
        for amount in amounts:
            if KEYS.get(name) == amount.key:
                limit = _must_lower(limit, amount.number)
        after += " "
        after += name
        after += "="
        after += limit
    return after
