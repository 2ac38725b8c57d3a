"""What is read from the kernel's files, and probes that are the same whatever the host."""

import fcntl
import os
import resource
from pathlib import Path

import pytest

from controlplane.cli import host

MOUNTS = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
"""
STATUS = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t000000c000200020\nNSpid:\t12\n"


def test_mounts() -> None:
    assert host.mounts_of("cgroup", MOUNTS) == ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids"]
    assert host.mounts_of("cgroup2", MOUNTS) == ["/sys/fs/cgroup/unified"]
    assert host.mounts_of("tracefs", MOUNTS) == []


@pytest.mark.parametrize(
    ("status", "held"),
    [(STATUS, {"BPF", "PERFMON", "SYS_ADMIN", "KILL"}), ("CapEff:\t0\n", set()), ("Name:\tx\n", set())],
)
def test_capabilities(status: str, held: set[str]) -> None:
    assert host.capabilities_in(status) == held


def test_a_field_is_not_another_that_begins_alike() -> None:
    assert host.status_field("Cap", STATUS) == ""
    assert host.status_field("NSpid", STATUS) == "12"


def test_a_lock_tells_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "arc.lock"
    locks = Path("/proc/locks")
    assert host.lock_holder(lock, locks.read_text()) is None
    with lock.open("w") as file:
        assert host.lock_holder(lock, locks.read_text()) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        assert host.lock_holder(lock, locks.read_text()) == os.getpid()
    assert host.lock_holder(lock, locks.read_text()) is None


def test_looking_for_a_lock_does_not_take_it(tmp_path: Path) -> None:
    lock = tmp_path / "arc.lock"
    lock.touch()
    host.lock_holder(lock, Path("/proc/locks").read_text())
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_trying_real_time_leaves_the_scheduler_as_it_was() -> None:
    before = os.sched_getscheduler(0)
    host.may_be_realtime()
    assert os.sched_getscheduler(0) == before


def test_files_of_a_cgroup_are_those_of_any_child(tmp_path: Path) -> None:
    (tmp_path / "child").mkdir()
    (tmp_path / "child" / "cgroup.kill").touch()
    (tmp_path / "cgroup.procs").touch()
    assert host.cgroup_files(str(tmp_path)) == {"cgroup.kill"}


def test_without_a_child_one_is_made_and_removed(tmp_path: Path) -> None:
    assert host.cgroup_files(str(tmp_path)) == set()
    assert list(tmp_path.iterdir()) == []


def test_lockable_bytes_is_the_limit() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    assert host.lockable_bytes() == (None if soft == resource.RLIM_INFINITY else soft)


def test_a_map_type_that_no_kernel_has_is_not_offered() -> None:
    library = host.libbpf()
    if library is None:
        pytest.skip("libbpf.so.1 is not installed")
    assert not host.offers_map_type(library, 999)


def test_btf_knows_whole_names_only() -> None:
    if not host.BTF.exists():
        pytest.skip("this kernel has no BTF")
    assert host.btf_names("task_struct")
    assert not host.btf_names("task_struc")
