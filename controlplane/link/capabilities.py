"""Capabilities of this process, kept by name and given up for good. Owns their numbers and no policy.

Imports next to nothing: every process that the arc starts calls it first.
"""

import ctypes
from collections.abc import Set as AbstractSet
from enum import IntEnum
from pathlib import Path
from typing import Final

from controlplane.link.credentials import PR_CAPBSET_DROP, no_new_privileges, prctl, refused

_CAPABILITY_VERSION_3: Final = 0x20080522
_HALF: Final = (1 << 32) - 1


class Capability(IntEnum):
    """Those that one of our processes has a use for, as linux/capability.h numbers them."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_ADMIN = 12
    IPC_LOCK = 14
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYS_NICE = 23
    SYS_RESOURCE = 24
    PERFMON = 38
    BPF = 39


def keep_only(wanted: AbstractSet[Capability]) -> None:
    """Of those held, no other is left, and no exec gives one back. Raises PrivilegesError."""
    bound(wanted)
    hold(wanted)
    no_new_privileges()


def bound(wanted: AbstractSet[Capability]) -> None:
    """What this process and those it starts can ever have. Needs CAP_SETPCAP to take any away.

    Raises PrivilegesError.
    """
    beyond = held("CapBnd") & ~_bits(wanted)
    for number in range(beyond.bit_length()):
        if beyond >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def hold(wanted: AbstractSet[Capability]) -> None:
    """Of those held, no other is left to this thread; a program that root starts has again what is bound."""
    left = held("CapPrm") & _bits(wanted)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable: their lower halves, then their upper ones.
    sets = (ctypes.c_uint32 * 6)(left & _HALF, left & _HALF, 0, left >> 32, left >> 32, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, sets) != 0:
        raise refused("capset")


def held(which: str) -> int:
    """One of the sets in /proc/self/status, as bits: `CapPrm`, `CapEff`, `CapBnd` ..."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(f"{which}:"))


def _bits(wanted: AbstractSet[Capability]) -> int:
    return sum(1 << each for each in wanted)
