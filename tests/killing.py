"""Ending everything in a cgroup that a test or the demo made, on any kernel."""

import contextlib
import os
import signal
from pathlib import Path


def kill_all(cgroup: Path) -> None:
    """Thaw it, and SIGKILL to every process; one by one before Linux 5.14, which brought cgroup.kill."""
    (cgroup / "cgroup.freeze").write_text("0")
    everybody = cgroup / "cgroup.kill"
    if everybody.exists():
        everybody.write_text("1")
        return
    # What is forked meanwhile is in the next list.
    while pids := (cgroup / "cgroup.procs").read_text().split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
