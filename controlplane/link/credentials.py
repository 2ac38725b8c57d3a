"""What a process may do, given up for good: capabilities, groups, uid. Owns the calls and no policy.

Imports next to nothing, for it runs before anything large is imported, or right before an exec.
"""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from controlplane.link.account import Account

# linux/prctl.h and linux/capability.h
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522


class PrivilegesError(Exception):
    """The process could not become harmless; `hint` says what to change."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def become(owner: Account) -> None:
    """Be the account, with no other group and no capability. Needs root; raises PrivilegesError."""
    libc = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise refused("capset")
    if left := remaining_capabilities():
        raise PrivilegesError(f"capabilities are left: {left}", "this kernel is not supported")


def remaining_capabilities() -> dict[str, int]:
    """The capability sets of this process that are not empty, by their name in /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sets = {
        name: int(value, 16)
        for name, _, value in (line.partition(":") for line in lines)
        if name[:3] == "Cap"
    }
    return {name: value for name, value in sets.items() if value}


def no_new_privileges() -> None:
    """No exec gives any back. Raises PrivilegesError."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(number: signal.Signals) -> None:
    """Get this signal when the parent ends; a change of credentials forgets it. Raises PrivilegesError."""
    prctl(PR_SET_PDEATHSIG, number)


def take_orphans() -> None:
    """Descendants whose parent has ended become children of this process. Raises PrivilegesError."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def prctl(option: int, value: int) -> None:
    """One option of the process, as linux/prctl.h numbers them. Raises PrivilegesError."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(argument) for argument in (value, 0, 0, 0))
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise refused(f"prctl({option}, {value})")


def refused(call: str) -> PrivilegesError:
    """What the last call of libc said."""
    return PrivilegesError(
        f"{call}: {os.strerror(ctypes.get_errno())}",
        "start the daemon with CAP_SETPCAP, CAP_SETUID and CAP_SETGID",
    )
