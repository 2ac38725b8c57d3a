"""Ends a node, however its test ended: `python -m tests.kubernetes.reaper CGROUP FOLDER SECONDS`.

Standard input is a pipe that the test alone holds open. At its end, or after SECONDS, all in the cgroup is
killed, frozen or not, then cgroup and folder are removed.
"""

import os
import select
import shutil
import sys
from pathlib import Path


def main() -> None:
    """Wait, then end it."""
    cgroup, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    select.select([sys.stdin], [], [], seconds)
    end(cgroup)
    shutil.rmtree(folder)


def end(cgroup: Path) -> None:
    """Nobody is left in it, nor below it, and it is gone."""
    (cgroup / "cgroup.kill").write_text("1")
    with (cgroup / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            poll.poll()
            events.seek(0)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()


if __name__ == "__main__":
    main()
