"""A filter of system calls, for good: what the plane never needs is refused with EPERM, whatever it asks for.

Owns the program and the calls that install it. What has no number here, being newer, is refused with ENOSYS.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2

# linux/seccomp.h
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

# linux/bpf_common.h
_LOAD: Final = 0x20
_EQUALS: Final = 0x15
_ABOVE: Final = 0x25
_HAS: Final = 0x45
_RETURN: Final = 0x06

CLONE_THREAD: Final = 0x00010000
CLONE_NEW: Final = 0x7E020000
"""Every flag of linux/sched.h that makes a namespace, save that of time, which only unshare takes."""
TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
AF_NETLINK: Final = 16

LAST_KNOWN: Final = 466
"""removexattrat: what has come since is open_tree_attr, and what nobody has looked at."""


class Machine(NamedTuple):
    """One instruction set: how the kernel names it, and the numbers of its calls."""

    audit: int
    """AUDIT_ARCH_* of linux/audit.h."""
    numbers: Mapping[str, int]


_SINCE_2019: Final = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "process_mrelease": 448,
}
"""The same on every machine."""
_X86_64: Final = {
    "socket": 41,
    "clone": 56,
    "fork": 57,
    "vfork": 58,
    "execve": 59,
    "kill": 62,
    "ioctl": 16,
    "ptrace": 101,
    "syslog": 103,
    "setuid": 105,
    "setgid": 106,
    "setreuid": 113,
    "setregid": 114,
    "setgroups": 116,
    "setresuid": 117,
    "setresgid": 119,
    "setfsuid": 122,
    "setfsgid": 123,
    "capset": 126,
    "rt_sigqueueinfo": 129,
    "mknod": 133,
    "uselib": 134,
    "personality": 135,
    "vhangup": 153,
    "modify_ldt": 154,
    "pivot_root": 155,
    "adjtimex": 159,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "tkill": 200,
    "clock_settime": 227,
    "tgkill": 234,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "migrate_pages": 256,
    "mknodat": 259,
    "unshare": 272,
    "move_pages": 279,
    "rt_tgsigqueueinfo": 297,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "execveat": 322,
    "userfaultfd": 323,
}
"""arch/x86/entry/syscalls/syscall_64.tbl."""
_AARCH64: Final = {
    "ioctl": 29,
    "mknodat": 33,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "vhangup": 58,
    "quotactl": 60,
    "acct": 89,
    "personality": 92,
    "capset": 91,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "syslog": 116,
    "ptrace": 117,
    "kill": 129,
    "tkill": 130,
    "tgkill": 131,
    "rt_sigqueueinfo": 138,
    "reboot": 142,
    "setregid": 143,
    "setgid": 144,
    "setreuid": 145,
    "setuid": 146,
    "setresuid": 147,
    "setresgid": 149,
    "setfsuid": 151,
    "setfsgid": 152,
    "setgroups": 159,
    "sethostname": 161,
    "setdomainname": 162,
    "settimeofday": 170,
    "adjtimex": 171,
    "socket": 198,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "execve": 221,
    "swapon": 224,
    "swapoff": 225,
    "migrate_pages": 238,
    "move_pages": 239,
    "rt_tgsigqueueinfo": 240,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "clock_adjtime": 266,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "bpf": 280,
    "execveat": 281,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}
"""include/uapi/asm-generic/unistd.h."""

MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(0xC000003E, _X86_64 | _SINCE_2019),
    "aarch64": Machine(0xC00000B7, _AARCH64 | _SINCE_2019),
}
CONDITIONAL: Final = frozenset({"socket", "clone", "clone3", "kill", "tgkill", "ioctl"})
"""Allowed for some arguments; all others in the tables are refused for any."""


def install(machine: str, pid: int) -> str:
    """From now on, for this thread and all it starts. Why not, or empty. Needs no_new_privs.

    `machine` is what uname says; `pid` the process that may be sent signals, itself.
    """
    known = MACHINES.get(machine)
    if known is None:
        return f"seccomp: the system calls of {machine} are not known here"
    code = b"".join(program(known, pid))
    text = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint64 * 2)(len(code) // 8, ctypes.addressof(text))
    if libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), head, 0, 0) != 0:
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return ""


def program(machine: Machine, pid: int) -> Iterator[bytes]:
    """The instructions. Each check has its own return, so no jump is long."""
    numbers = machine.numbers
    yield _load(_MACHINE_AT)
    yield from _unless(_EQUALS, machine.audit, errno.EPERM)
    yield _load(_NUMBER_AT)
    # Numbers with the bit of x32 are above, too.
    yield from _when(_ABOVE, LAST_KNOWN, errno.ENOSYS)
    for name in sorted(numbers.keys() - CONDITIONAL):
        yield from _when(_EQUALS, numbers[name], errno.EPERM)
    # Its flags lie in memory, where no filter can look; libc then takes clone.
    yield from _when(_EQUALS, numbers["clone3"], errno.ENOSYS)
    yield from _only(numbers["clone"], _thread())
    yield from _only(numbers["socket"], _families())
    for name in ("kill", "tgkill"):
        yield from _only(numbers[name], (_load_argument(0), *_unless(_EQUALS, pid, errno.EPERM)))
    yield from _only(numbers["ioctl"], _requests())
    yield _give(_ALLOW)


def _thread() -> Iterator[bytes]:
    yield _load_argument(0)
    yield from _unless(_HAS, CLONE_THREAD, errno.EPERM)
    yield from _when(_HAS, CLONE_NEW, errno.EPERM)


def _families() -> Iterator[bytes]:
    """Of netlink that of routes alone, by which libc finds out what addresses there are."""
    yield _load_argument(0)
    for family in (AF_UNIX, AF_INET, AF_INET6):
        yield from _allowed(family)
    yield from _unless(_EQUALS, AF_NETLINK, errno.EPERM)
    yield _load_argument(2)
    yield from _unless(_EQUALS, 0, errno.EPERM)


def _requests() -> Iterator[bytes]:
    """What types into a terminal in somebody's stead."""
    yield _load_argument(1)
    for request in (TIOCSTI, TIOCLINUX):
        yield from _when(_EQUALS, request, errno.EPERM)


def _only(number: int, checks: Iterable[bytes]) -> Iterator[bytes]:
    """For one call: what the checks do not refuse is allowed. The number stays loaded for all others."""
    body = [*checks, _give(_ALLOW)]
    yield _jump(_EQUALS, number, 0, len(body))
    yield from body


def _when(condition: int, operand: int, number: int) -> tuple[bytes, bytes]:
    return _jump(condition, operand, 0, 1), _give(_ERRNO | number)


def _unless(condition: int, operand: int, number: int) -> tuple[bytes, bytes]:
    return _jump(condition, operand, 1, 0), _give(_ERRNO | number)


def _allowed(operand: int) -> tuple[bytes, bytes]:
    return _jump(_EQUALS, operand, 0, 1), _give(_ALLOW)


def _load_argument(index: int) -> bytes:
    """Its lower half, which is all there is of an int; both machines are little-endian."""
    return _load(_ARGUMENTS_AT + 8 * index)


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", _LOAD, 0, 0, offset)


def _give(what: int) -> bytes:
    return struct.pack("HBBI", _RETURN, 0, 0, what)


def _jump(condition: int, operand: int, true: int, false: int) -> bytes:
    return struct.pack("HBBI", condition, true, false, operand)
