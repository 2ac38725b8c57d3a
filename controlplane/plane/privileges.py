"""Gives up every privilege, before anything large is imported.

Owns the capabilities and the flags of the process. Imports next to
nothing but the standard library.
"""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from controlplane.link.account import Account

# linux/prctl.h and linux/capability.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522


class PrivilegesError(Exception):
    """The process could not become harmless; `hint` says what to change."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def own_directory(path: Path, owner: Account) -> None:
    """Create `path` if it is missing, and give it to `owner`, mode 0700. Needs root."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened without following links: its last component may already be in the plane's hands.
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(directory, owner.uid, owner.gid)
        os.fchmod(directory, 0o700)
    finally:
        os.close(directory)


def drop(owner: Account) -> None:
    """Become the account and keep nothing: no group, no capability, no way back. Raises PrivilegesError.

    Not root: there is nothing to give up, and only the flags of the process are set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        # The arc is the last to be killed for want of memory; this process can be started again.
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
        _become(libc, owner)
    # A change of credentials resets both flags, so they come after it. A core would hold journal and keys.
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o077)


def _become(libc: ctypes.CDLL, owner: Account) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _prctl(libc, _PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise _refused("capset")
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


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    arguments = (ctypes.c_ulong(argument) for argument in (value, 0, 0, 0))
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise _refused(f"prctl({option}, {value})")


def _refused(call: str) -> PrivilegesError:
    return PrivilegesError(
        f"{call}: {os.strerror(ctypes.get_errno())}",
        "start the daemon with CAP_SETPCAP, CAP_SETUID and CAP_SETGID",
    )
