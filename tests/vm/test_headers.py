"""Real headers tell of each kernel's types what its BTF tells, but for the types that no header has."""

from pathlib import Path

import pytest

from controlplane.arc.kernel.loader import SOURCES
from controlplane.compiler.asking import Declared
from controlplane.compiler.btf import Btf
from controlplane.compiler.installed import Installed
from controlplane.compiler.layout import Kernel, laid_out
from controlplane.compiler.types import learnt
from tests.vm.kernels import STORE

PRIVATE = {"rq", "cfs_rq", "blkcg", "blkcg_gq"}
"""In kernel/sched/sched.h and block/blk-cgroup.h, which no package of headers has."""
OTHERS = """
KERNEL_TYPES
struct file { unsigned int f_flags; struct inode *f_inode; };
struct inode { unsigned long i_ino; };
struct dentry { struct inode *d_inode; };
struct super_block { unsigned int s_dev; };
struct mm_struct { unsigned long total_vm; };
struct signal_struct { int group_exit_code; };
struct vm_area_struct { unsigned long vm_flags; };
struct net_device { unsigned int mtu; };
struct tcp_sock { unsigned int snd_cwnd; };
struct nsproxy { struct uts_namespace *uts_ns; };
struct trace_event_raw_sched_switch { int prev_pid; };
struct trace_event_raw_signal_generate { int errno; };
enum pid_type { PIDTYPE_TGID, };
typedef void (*btf_trace_sched_switch)(void *);
typedef void (*btf_trace_tcp_probe)(void *);
KERNEL_TYPES_END
"""
"""What sensors of users may read."""
TYPES = (SOURCES / "core.h").read_text() + OTHERS.replace(" { ", " {\n").replace(" };", "\n};")
HEADERS = "headers-"
RELEASES = sorted(
    release
    for path in STORE.glob(f"{HEADERS}*")
    if (STORE / (release := path.name.removeprefix(HEADERS)) / "vmlinux").exists()
)


class Both:
    """A `Kernel` that asks two; `differing` are types on which they do not agree."""

    def __init__(self, one: Kernel, other: Kernel) -> None:
        self._one = one
        self._other = other
        self.same = 0
        self.differing: set[str] = set()

    def has_type(self, name: str) -> bool:
        return bool(self._same(name, self._one.has_type(name), self._other.has_type(name)))

    def parameters_of(self, name: str) -> int | None:
        return self._same(name, self._one.parameters_of(name), self._other.parameters_of(name))

    def offset_of(self, name: str, field: str) -> int | None:
        return self._same(name, self._one.offset_of(name, field), self._other.offset_of(name, field))

    def number_of(self, name: str, enumerator: str) -> int | None:
        told, other = (kernel.number_of(name, enumerator) for kernel in (self._one, self._other))
        return self._same(name, told, other)

    def _same(self, name: str, told: int | None, other: int | None) -> int | None:
        if told == other:
            self.same += 1
        else:
            self.differing.add(name)
        return told


def unpacked(folder: Path) -> Installed:
    (source,), (build,) = folder.glob("*-common"), folder.glob("*-cloud-*")
    return Installed(source, build)


@pytest.mark.skipif(not RELEASES, reason="no kernel was unpacked here: `make vm` does that")
@pytest.mark.parametrize("release", RELEASES)
def test_headers_tell_what_btf_tells(release: str) -> None:
    questions = Declared()
    laid_out(TYPES, questions)
    headers = learnt(unpacked(STORE / f"{HEADERS}{release}/usr/src"), questions.asked)
    with Btf(STORE / release / "vmlinux") as btf:
        both = Both(Declared(headers), btf)
        laid_out(TYPES, both)
    assert both.same > 50
    assert {"rq", "cfs_rq"} <= both.differing <= PRIVATE
