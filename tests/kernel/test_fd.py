"""fd feels what has run out: descriptors, space on a file system, processes; and nothing else that fails."""

import sys
from pathlib import Path
from typing import Final

import pytest

from controlplane.arc.kernel.events import Event, Signal
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt

SIGNALS: Final = ("fd.exhausted", "disk.full", "process.fork_refused")
NUMBERS: Final = {Signal.FD_EXHAUSTED, Signal.DISK_FULL, Signal.PROCESS_FORK_REFUSED}
NOBODY: Final = 64321
"""A user with no other process: its limit counts all of them."""

NO_DESCRIPTOR: Final = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    os.dup(0)
except OSError:
    input()
"""
NO_PROCESS: Final = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
os.setresuid(*[int(sys.argv[1])] * 3)
try:
    os.fork()
except OSError:
    input()
"""
NO_SPACE: Final = 'mount -t tmpfs -o size=4k none "$0"; head -c 9000 /dev/zero > "$0/full"; read -r line'
OTHER_FAILURES: Final = """
import os, socket
one, other = socket.socketpair()
one.setblocking(False)
for fail in (lambda: one.recv(1), lambda: open("/nowhere"), lambda: os.kill(-99, 0), lambda: os.close(9)):
    try:
        fail()
    except OSError:
        pass
raise SystemExit(1)
"""
"""EAGAIN of something else than clone, ENOENT, ESRCH, EBADF."""


@pytest.fixture
def felt(felt: Felt) -> Felt:
    for signal in SIGNALS:
        felt.sensors.set_gate(signal, EVERY_ONE)
    return felt


def only(felt: Felt, event: Event) -> bool:
    """Whether nothing else was said to have run out in its cgroup."""
    return {
        other.signal for other in felt.events if other.cgroup == event.cgroup and other.signal in NUMBERS
    } == {event.signal}


def test_a_process_out_of_descriptors(felt: Felt, cgroup: TestCgroup) -> None:
    process = cgroup.run(sys.executable, "-c", NO_DESCRIPTOR)
    event = felt.signal("fd.exhausted", cgroup)
    assert (event.pid, event.value, event.key) == (process.pid, 1, cgroup.id)
    assert event.comm.startswith(b"python")
    assert only(felt, event)


def test_a_full_file_system(felt: Felt, cgroup: TestCgroup, tmp_path: Path) -> None:
    shell = cgroup.run("unshare", "--mount", "sh", "-c", NO_SPACE, str(tmp_path))
    event = felt.signal("disk.full", cgroup)
    assert (event.comm.rstrip(b"\0"), event.weight) == (b"head", 1)
    assert event.parent == shell.pid
    assert only(felt, event)


def test_a_user_out_of_processes(felt: Felt, cgroup: TestCgroup) -> None:
    process = cgroup.run(sys.executable, "-c", NO_PROCESS, str(NOBODY))
    event = felt.signal("process.fork_refused", cgroup)
    assert (event.pid, event.value) == (process.pid, 1)
    assert only(felt, event)


def test_what_fails_for_other_reasons_has_not_run_out(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    cgroup.run(sys.executable, "-c", OTHER_FAILURES)
    felt.signal("process.exit_failure", cgroup)
    assert not [event for event in felt.events if event.cgroup == cgroup.id and event.signal in NUMBERS]
