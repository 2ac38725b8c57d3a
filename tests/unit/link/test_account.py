"""The plane's account, and whether its directories are open to it."""

import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.link.account import (
    FALLBACK_ID,
    Account,
    AccountError,
    account,
    group,
    owned_directory,
    require_reachable,
    require_readable,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something away")
WITHOUT_FOWNER = ("setpriv", "--bounding-set=-fowner", "--inh-caps=-fowner", sys.executable)
NOBODY = Account(FALLBACK_ID, FALLBACK_ID)


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


def seen(path: Path) -> tuple[int, int, int]:
    """Owner, group and mode."""
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@needs_root
def test_a_directory_is_made_and_given(tmp_path: Path) -> None:
    os.close(owned_directory(tmp_path / "a" / "b", NOBODY, 0o700))
    assert seen(tmp_path / "a" / "b") == (*NOBODY, 0o700)


@needs_root
def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to(tmp_path / "target")
    with pytest.raises(NotADirectoryError):
        owned_directory(tmp_path / "state", NOBODY, 0o700)
    assert (tmp_path / "target").stat().st_uid == 0


@needs_root
@pytest.mark.parametrize("before", [None, 0o2710, 0o755])
def test_what_is_somebody_elses_already_needs_no_more_privilege(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "plane"
    if before is not None:
        path.mkdir()
        os.chown(path, *NOBODY)
        path.chmod(before)
    code = "import sys; from pathlib import Path; from controlplane.link.account import *;"
    code += f"owned_directory(Path(sys.argv[1]), Account{tuple(NOBODY)}, 0o2710)"
    subprocess.run([*WITHOUT_FOWNER, "-c", code, path], check=True)
    assert seen(path) == (*NOBODY, 0o2710)


@needs_root
def test_a_directory_that_cannot_be_given_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plane"
    code = "import sys; from pathlib import Path; from controlplane.link.account import *;"
    code += f"owned_directory(Path(sys.argv[1]), Account{tuple(NOBODY)}, 0o700)"
    powerless = ("setpriv", "--bounding-set=-chown", "--inh-caps=-chown", sys.executable)
    done = subprocess.run([*powerless, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.stderr.endswith(f"PermissionError: [Errno 1] Operation not permitted: '{path}'\n")
