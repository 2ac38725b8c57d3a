"""`reflexarc pki`: what it makes is what the daemon takes, and it overwrites nothing."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.cli.main import main
from controlplane.link.account import account
from controlplane.plane.api.certificates import check, shown_by
from controlplane.plane.api.tls import Files, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert main(["pki", "init", "--dir", str(tmp_path), "--trust-domain", "example.org"]) == 0
    return tmp_path


def pki(folder: Path, *words: str) -> int:
    return main(["pki", *words, "--dir", str(folder)])


def test_what_it_makes_is_what_the_daemon_takes(folder: Path) -> None:
    assert pki(folder, "issue", "server", "node-1", "--address", "127.0.0.1") == 0
    assert pki(folder, "issue", "client", "alice", "--role", "operator") == 0
    now = datetime.now(UTC)
    files = Files(*(str(folder / name) for name in ("node-1.crt", "node-1.key", "ca.crt")))
    assert load(files, now).certificate.subject.rfc4514_string() == "CN=node-1"
    shown = shown_by((folder / "alice.crt").read_bytes())
    check(shown, (), now)
    assert shown.names == ("spiffe://example.org/operator/alice", "subject:CN=alice")


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        pki(folder, "issue", "server", "node-1")
        pki(folder, "issue", "client", "alice", "--role", "viewer")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    assert {mode for name, mode in modes.items() if name.endswith(".crt")} == {0o644}
    if os.geteuid() == 0:
        assert (folder / "node-1.key").stat().st_uid == account("").uid
        assert (folder / "alice.key").stat().st_uid == 0


@pytest.mark.parametrize("ending", ["crt", "key"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ca", ["init"]),
        ("node-1", ["issue", "server", "node-1"]),
        ("bob", ["issue", "client", "bob", "--role", "admin"]),
    ],
)
def test_nothing_is_overwritten(
    tmp_path: Path, name: str, words: list[str], ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name != "ca":
        pki(tmp_path, "init")
    (tmp_path / f"{name}.{ending}").write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    assert pki(tmp_path, *words) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / f"{name}.{ending}").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "node-1.key").symlink_to(tmp_path / "elsewhere")
    assert pki(folder, "issue", "server", "node-1") == 1
    assert not (tmp_path / "elsewhere").exists()


def test_renewed_it_says_the_same_and_the_old_ones_are_kept(folder: Path) -> None:
    pki(folder, "issue", "client", "alice", "--role", "operator", "--days", "7")
    old = {ending: (folder / f"alice.{ending}").read_bytes() for ending in ("crt", "key")}
    assert pki(folder, "renew", "alice") == 0
    before, after = shown_by(old["crt"]), shown_by((folder / "alice.crt").read_bytes())
    assert (before.names, before.issuer) == (after.names, after.issuer)
    assert after.not_after - after.not_before == before.not_after - before.not_before
    assert before.serial != after.serial
    for ending, contents in old.items():
        assert (folder / f"alice.{ending}").read_bytes() != contents
        assert (folder / f"alice.{before.serial:x}.{ending}").read_bytes() == contents


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki(folder, "issue", "server", "node-1", "--dns", "node-1.example.org")
    capsys.readouterr()
    assert pki(folder, "show", "--json") == 0
    ca, server = json.loads(capsys.readouterr().out)
    assert (ca["use"], ca["names"], ca["days_left"]) == (["ca"], ["spiffe://example.org"], 3649)
    assert (server["use"], server["names"], server["days_left"]) == (["server"], ["node-1.example.org"], 89)
    assert pki(folder, "show") == 0
    assert "node-1.example.org" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["issue", "client", "alice"], 2, "a client needs --role"),
        (["issue", "server", "node", "--role", "admin"], 2, "a server has none"),
        (["issue", "client", "alice", "--role", "admin", "--dns", "a"], 2, "are for servers"),
        (["issue", "server", "../node"], 2, "cannot be the name"),
        (["issue", "server", "ca"], 2, "cannot be the name"),
        (["issue", "server", "node", "--days", "826"], 2, "must be from 1 to 825"),
        (["issue", "server", "node", "--address", "nowhere"], 1, "not a name for a certificate"),
        (["renew", "nobody"], 1, "cannot be read"),
        (["renew", "ca"], 1, "a CA is not renewed"),
        (["show", "missing.crt"], 1, "cannot be read"),
    ],
)
def test_refused(
    folder: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pki(folder, *words) == code
    assert said in capsys.readouterr().err


def test_nothing_outlives_its_ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pki(tmp_path, "init", "--days", "30")
    assert pki(tmp_path, "issue", "server", "node") == 1
    assert "it would outlive its CA" in capsys.readouterr().err
