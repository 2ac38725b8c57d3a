"""What the two processes use of the machine, read from /proc when somebody asks."""

import os
from pathlib import Path
from typing import Final, NamedTuple

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Of one process so far: processor time of all threads, and memory now."""

    cpu_s: float
    resident_bytes: int


def usage(pid: int) -> Usage | None:
    """From /proc/<pid>/stat (proc(5)); None where that process is gone or hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is a name that may hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    user, system, pages = (int(fields[number - 3]) for number in (14, 15, 24))
    return Usage((user + system) * _TICK_S, pages * _PAGE)
