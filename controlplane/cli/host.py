"""What this host offers: each question is put to the kernel itself, and none compares versions.

Changes nothing that outlasts the call. Says what is there; whether that suffices is for the caller.
"""

import ctypes
import os
import resource
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

import controlplane.arc.kernel
from controlplane.arc.kernel import sources
from controlplane.compiler.bcc import DIST_PACKAGES
from controlplane.link.capabilities import Capability
from controlplane.link.signals import SIGNALS

BTF: Final = Path("/sys/kernel/btf/vmlinux")
OBJECTS: Final = Path(controlplane.arc.kernel.__path__[0], "objects")
RINGBUF: Final = 27
"""`enum bpf_map_type` of include/uapi/linux/bpf.h."""


_INIT_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode of the first pid namespace: PROC_PID_INIT_INO of include/linux/proc_ns.h."""


def missing_objects() -> list[str]:
    """Sensors whose BPF object has not been built."""
    sensors = {signal.sensor for signal in SIGNALS}.difference(sources.NAMES)
    return sorted(name for name in sensors if not (OBJECTS / f"{name}.bpf.o").exists())


def libbpf() -> ctypes.CDLL | None:
    """libbpf, silent; None where it cannot be loaded."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        return None
    library.libbpf_set_print(None)
    return library


def has_bcc() -> bool:
    """Whether bcc can be imported by the compiler: it lies in Debian's own folder of packages."""
    return PathFinder.find_spec("bcc", [*sys.path, DIST_PACKAGES]) is not None


def offers_map_type(library: ctypes.CDLL, number: int) -> bool:
    """Whether a map of that type can be created here and now."""
    return bool(library.libbpf_probe_bpf_map_type(number, None) == 1)


def btf_names(name: str) -> bool:
    """Whether the kernel's BTF has a type of that name."""
    try:
        return b"\0" + name.encode() + b"\0" in BTF.read_bytes()
    except OSError:
        return False


def mounts_of(kind: str, mounts: str) -> list[str]:
    """Mount points of a file system in the text of /proc/self/mounts."""
    rows = (line.split(" ") for line in mounts.splitlines())
    return [row[1] for row in rows if len(row) > 2 and row[2] == kind]


def status_field(name: str, status: str) -> str:
    """One field in the text of /proc/self/status; empty where the kernel has no such field."""
    found = (line.partition(":")[2] for line in status.splitlines() if line.startswith(f"{name}:"))
    return next(found, "").strip()


def capabilities_in(status: str) -> frozenset[str]:
    """Those we have a use for that are effective, from the text of /proc/self/status."""
    effective = int(status_field("CapEff", status) or "0", 16)
    return frozenset(each.name for each in Capability if effective >> each & 1)


def in_first_pid_namespace() -> bool:
    """Whether our process numbers are the kernel's own, those which events carry."""
    return Path("/proc/self/ns/pid").stat().st_ino == _INIT_PID_NAMESPACE


def may_be_realtime() -> bool:
    """Whether SCHED_FIFO would be granted; tried, and taken back at once."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def lockable_bytes() -> int | None:
    """How much memory may be locked without a capability; None without bound."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY else soft


def cgroup_files(mount: str) -> set[str] | None:
    """Files of a cgroup below the root, which has fewer. None when there is none and none can be made."""
    for entry in Path(mount).iterdir():
        if entry.is_dir():
            return {file.name for file in entry.iterdir()}
    trial = Path(mount, f"reflexarc-doctor-{os.getpid()}")
    try:
        trial.mkdir()
    except OSError:
        return None
    try:
        return {file.name for file in trial.iterdir()}
    finally:
        trial.rmdir()


def lock_holder(path: Path, locks: str) -> int | None:
    """Process that holds an flock on a file, from the text of /proc/locks; None when nobody does.

    Only looks: taking the lock to find out could make a daemon that starts just now fail.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in locks.splitlines():
        # "1: FLOCK  ADVISORY  WRITE 812 00:1a:1234 0 EOF"; a waiting one has "->" after its number
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and wanted in fields:
            return int(fields[4])
    return None
