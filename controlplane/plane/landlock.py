"""A ruleset of the file system, for good: what is not named cannot be opened, made or removed.

Owns the three system calls and the meaning of their bits. What the kernel does not know yet is left out.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from typing import Final, NamedTuple

# The same numbers on every machine.
CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
_OF_FILES: Final = 1 | WRITE_FILE | READ_FILE | TRUNCATE | 1 << 15

READ: Final = READ_FILE | READ_DIR
KEEP: Final = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
"""Files and folders, nothing that is special or can be run."""
SOCKETS: Final = READ | REMOVE_FILE | MAKE_SOCK

_FILES_BY_ABI: Final = ((5, 1 << 16), (3, 1 << 15), (2, 1 << 14))
"""From this version on, all bits below that one are known; else those below that of REFER."""
_SCOPES: Final = 0b11
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL."""
_SCOPES_SINCE: Final = 6


class Rule(NamedTuple):
    """What may be done with a path and all below it."""

    path: str
    access: int


def abi() -> int:
    """The version that this kernel offers; 0: none, or it is switched off."""
    return max(0, _syscall(CREATE_RULESET, None, 0, _VERSION))


def restrict(rules: Iterable[Rule]) -> str:
    """From now on, for this thread and all it starts. Why not, or empty. Needs no_new_privs.

    A path that is not there gives nothing.
    """
    version = abi()
    if not version:
        return "landlock: not offered by this kernel"
    handled = next((bit for since, bit in _FILES_BY_ABI if version >= since), REFER) - 1
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    head = (ctypes.c_uint64 * 3)(handled, 0, scopes)
    # What a kernel does not know must be absent, or zero.
    ruleset = _syscall(CREATE_RULESET, head, ctypes.sizeof(head), 0)
    if ruleset < 0:
        return f"landlock: {os.strerror(ctypes.get_errno())}"
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        if _syscall(RESTRICT_SELF, ruleset, 0) != 0:
            return f"landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return ""


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    """Raises OSError, save where there is no such path."""
    try:
        path = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        allowed = rule.access & handled
        if not stat.S_ISDIR(os.fstat(path).st_mode):
            allowed &= _OF_FILES
        packed = allowed.to_bytes(8, "little") + path.to_bytes(4, "little")
        if _syscall(ADD_RULE, ruleset, _PATH_BENEATH, packed, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_add_rule", rule.path)
    finally:
        os.close(path)


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    as_long = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return int(libc.syscall(ctypes.c_long(number), *as_long))
