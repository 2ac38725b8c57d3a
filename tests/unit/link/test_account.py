"""The plane's account, and whether its directories are open to it."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from controlplane.link.account import (
    FALLBACK_ID,
    Account,
    AccountError,
    account,
    group,
    require_reachable,
    require_readable,
)


def test_unknown_account_is_refused_with_a_hint() -> None:
    with pytest.raises(AccountError, match="no account named 'nobody-at-all'") as caught:
        account("nobody-at-all")
    assert "plane_user" in caught.value.hint


def test_root_is_refused() -> None:
    with pytest.raises(AccountError, match="is root"):
        account("root")


def test_a_named_account_is_taken() -> None:
    entry = pwd.getpwnam("daemon")
    assert account("daemon") == Account(entry.pw_uid, entry.pw_gid)


def test_open_folders_can_be_reached(tmp_path: Path) -> None:
    require_reachable("/run/reflexarc", Account(FALLBACK_ID, FALLBACK_ID))
    require_reachable(str(tmp_path / "x"), Account(os.getuid(), os.getgid()))


def test_a_closed_folder_is_named_with_a_hint(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(AccountError, match=f"{closed} is closed") as caught:
        require_reachable(str(closed / "run" / "deep"), Account(FALLBACK_ID, FALLBACK_ID))
    assert f"chmod a+x {closed}" in caught.value.hint


def test_a_group_by_name() -> None:
    entry = grp.getgrgid(0)
    assert group(entry.gr_name) == 0
    with pytest.raises(AccountError, match="no group named 'nobody-has-this'") as caught:
        group("nobody-has-this")
    assert "groupadd" in caught.value.hint


@pytest.mark.parametrize(
    ("mode", "folder", "readable"),
    [(0o600, 0o700, True), (0o400, 0o500, True), (0o000, 0o700, False), (0o600, 0o100, False)],
)
def test_a_file_and_its_folder_must_be_readable(
    tmp_path: Path, *, mode: int, folder: int, readable: bool
) -> None:
    tmp_path.chmod(0o755)
    place = tmp_path / "tls"
    place.mkdir()
    (place / "tls.key").touch()
    (place / "tls.key").chmod(mode)
    place.chmod(folder)
    owner = Account(os.geteuid(), os.getegid())
    try:
        if readable:
            require_readable(str(place / "tls.key"), owner)
        else:
            with pytest.raises(AccountError, match="cannot be read by the unprivileged process"):
                require_readable(str(place / "tls.key"), owner)
    finally:
        place.chmod(0o700)
