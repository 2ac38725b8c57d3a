"""A cgroup is killed to the last process also where there is no cgroup.kill."""

import os
import sys
from typing import Final

from controlplane.arc.reflex.acts import _kill_one_by_one
from tests.kernel.conftest import TestCgroup, await_until
from tests.patience import often

PROCESSES: Final = often(1200)
"""More than fit into one page of cgroup.procs."""
CROWD: Final = f"""
import os, signal
for _ in range({PROCESSES}):
    if not os.fork():
        signal.pause()
print(flush=True)
signal.pause()
"""
STORM: Final = "while :; do sleep 60 & done"


def kill(cgroup: TestCgroup) -> None:
    directory = os.open(cgroup.directory, os.O_RDONLY)
    _kill_one_by_one(directory)
    os.close(directory)
    await_until(lambda: "populated 0" in cgroup.read("cgroup.events"), 10)
    assert cgroup.read("cgroup.freeze") == "0"


def test_a_crowd(cgroup: TestCgroup) -> None:
    read, write = os.pipe()
    cgroup.run(sys.executable, "-c", CROWD, stdout=write)
    os.read(read, 1)
    kill(cgroup)
    os.close(read)
    os.close(write)


def test_a_storm_does_not_fork_away(cgroup: TestCgroup) -> None:
    cgroup.run("sh", "-c", STORM)
    await_until(lambda: cgroup.read("cgroup.procs").count("\n") > 5, 10)
    kill(cgroup)


def test_those_in_cgroups_below(cgroup: TestCgroup) -> None:
    below = TestCgroup(cgroup.directory / "below", f"{cgroup.path}/below")
    below.run("sleep", "60")
    await_until(lambda: bool(below.read("cgroup.procs")), 10)
    kill(cgroup)
    assert "populated 0" in below.read("cgroup.events")
    below.remove()
