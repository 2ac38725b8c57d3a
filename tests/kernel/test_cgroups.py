"""Where processes are, seen from a cgroup namespace of one's own as most containers have."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.kernel.conftest import TestCgroup

LOOK = """
import os, sys
from controlplane.arc.kernel.cgroups import Cgroups, find_mount
cgroups = Cgroups(find_mount())
print(*(cgroups.of_process(int(pid)) for pid in (os.getpid(), *sys.argv[1:])))
"""


def looked(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().decode().split()


def test_paths_are_below_the_mount_also_from_a_namespace(make_cgroup: Callable[[], TestCgroup]) -> None:
    ours, theirs = make_cgroup(), make_cgroup()
    there = theirs.run("sh", "-c", "echo; exec sleep 60", stdout=subprocess.PIPE)
    assert there.stdout is not None
    there.stdout.readline()
    for way in ((), ("unshare", "--cgroup")):
        look = ours.run(*way, sys.executable, "-c", LOOK, str(there.pid), stdout=subprocess.PIPE)
        assert looked(look) == [ours.path, theirs.path]


def test_paths_are_right_where_we_are_below_the_root_of_the_namespace(
    make_cgroup: Callable[[], TestCgroup],
) -> None:
    ours, theirs = make_cgroup(), make_cgroup()
    (ours.directory / "inner").mkdir()
    there = theirs.run("sh", "-c", "echo; exec sleep 60", stdout=subprocess.PIPE)
    assert there.stdout is not None
    there.stdout.readline()
    inner = Path(ours.directory, "inner/cgroup.procs")
    move = f'echo 0 >{inner}; exec "$@"'
    command = ("unshare", "--cgroup", "sh", "-c", move, "sh", sys.executable, "-c", LOOK, str(there.pid))
    assert looked(ours.run(*command, stdout=subprocess.PIPE)) == [f"{ours.path}/inner", theirs.path]
    ours.clear()
    (ours.directory / "inner").rmdir()
