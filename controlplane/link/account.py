"""The plane's account: arc, plane and launcher must mean the same one, and it must reach its directories."""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final, NamedTuple

DEFAULT_USER: Final = "reflexarc"
FALLBACK_ID: Final = 60999
"""Uid and gid where there is no account: in a range that Debian policy (9.2.2) gives to nobody by itself."""


class AccountError(Exception):
    """There is no such account, or it cannot work; `hint` says what to change."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Account(NamedTuple):
    """Who the plane is."""

    uid: int
    gid: int


def account(user: str) -> Account:
    """The account named; empty: `reflexarc` where it exists, else a fixed id. Raises AccountError."""
    try:
        entry = pwd.getpwnam(user or DEFAULT_USER)
    except KeyError:
        if user:
            hint = "create it (useradd --system), or leave plane_user empty"
            raise AccountError(f"plane_user: no account named {user!r}", hint) from None
        return Account(FALLBACK_ID, FALLBACK_ID)
    if entry.pw_uid == 0:
        raise AccountError(f"plane_user: {user!r} is root", "name an account without privileges")
    return Account(entry.pw_uid, entry.pw_gid)


def group(name: str) -> int:
    """Number of a group. Raises AccountError."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise AccountError(f"management: no group named {name!r}", "create it (groupadd --system)") from None


def owned_directory(path: Path, owner: Account, mode: int) -> int:
    """Descriptor of a directory, made if it is missing, and given to `owner`. Raises OSError with its path.

    Takes CAP_CHOWN and not CAP_FOWNER: the mode is set while it is ours, and nothing where both are right.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened without following links: its last component may already be in the owner's hands.
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(directory, owner, mode)
    except OSError as error:
        os.close(directory)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return directory


def _give(directory: int, owner: Account, mode: int) -> None:
    found = os.fstat(directory)
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchown(directory, os.geteuid(), os.getegid())
        os.fchmod(directory, mode)
    elif (found.st_uid, found.st_gid) == owner:
        return
    os.fchown(directory, *owner)


def require_readable(path: str, owner: Account) -> None:
    """Raises AccountError when the account could not read a file, or watch the folder in which it is."""
    real = Path(path).resolve()
    require_reachable(str(real), owner)
    for what in (real, real.parent, Path(path).parent):
        if not _mode_for(what, owner) & os.R_OK:
            raise AccountError(
                f"{path} cannot be read by the unprivileged process (uid {owner.uid}): {what} is closed",
                f"chown {owner.uid} {what}, and mode 0600, or 0700 for a folder",
            )


def _mode_for(path: Path, owner: Account) -> int:
    """What the account may do there: read, write and search as in os.access."""
    entry = path.stat()
    shift = 6 if entry.st_uid == owner.uid else 3 if entry.st_gid == owner.gid else 0
    return entry.st_mode >> shift & 7


def require_reachable(path: str, owner: Account) -> None:
    """Raises AccountError when a folder above `path` would not let the account through."""
    for folder in Path(path).parents:
        try:
            mode = _mode_for(folder, owner)
        except FileNotFoundError:
            continue
        if not mode & os.X_OK:
            raise AccountError(
                f"{path} cannot be reached by the unprivileged process (uid {owner.uid}): {folder} is closed",
                f"chmod a+x {folder}, or choose another directory",
            )
