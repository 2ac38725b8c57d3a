"""Management as people set it up: certificates by `reflexarc pki`, a daemon over TLS, and who did what."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.cli.exits import Exit
from controlplane.cli.main import main
from controlplane.client import Client, ConnectError, RefusedError, Target
from controlplane.link.config import Config
from controlplane.link.records import Audit, Call, Notice, Record
from controlplane.wire import management_pb2 as pb
from tests.bench.daemon import free_port, journalled
from tests.kernel.test_daemon import Daemon, one_of

CONFIG = """
default_policies: false
management:
  address: {address}
  cert: {pki}/node.crt
  key: {pki}/node.key
  client_ca: {pki}/ca.crt
  viewer_group: daemon
  identities:
    - {{spiffe: "spiffe://example.org/operator/alice", role: operator}}
    - {{spiffe: "spiffe://example.org/viewer/bob", role: viewer}}
"""


class Locked(Daemon):
    """A daemon whose management is over TLS, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = f"127.0.0.1:{free_port()}"
        self.pki = folder / "pki"
        words: tuple[tuple[str, ...], ...] = (
            ("init", "--trust-domain", "example.org"),
            ("issue", "server", "node", "--address", "127.0.0.1"),
            ("issue", "client", "alice", "--role", "operator"),
            ("issue", "client", "bob", "--role", "viewer"),
        )
        for each in words:
            assert main(["pki", *each, "--dir", str(self.pki)]) == 0
        (folder / "reflexarc.yaml").write_text(CONFIG.format(address=self.address, pki=self.pki))

    def command(self) -> list[str]:
        return [*super().command(), "--config", str(self.folder / "reflexarc.yaml")]

    def target(self, name: str) -> Target:
        return Target(
            address=self.address,
            ca=str(self.pki / "ca.crt"),
            cert=str(self.pki / f"{name}.crt"),
            key=str(self.pki / f"{name}.key"),
        )

    def journal(self) -> list[Record]:
        """Wherever it lies by now."""
        config = Config(runtime_dir=str(self.folder / "run"), state_dir=str(self.folder / "state"))
        return [record for _, record in journalled(config)]

    def calls(self) -> list[Call]:
        return [record.call for record in self.journal() if isinstance(record, Audit)]

    def notices(self) -> list[str]:
        return [record.name for record in self.journal() if isinstance(record, Notice)]


@pytest.fixture
def locked() -> Iterator[Locked]:
    yield from one_of(Locked)


def reflexarc(locked: Locked, who: str, *words: str) -> "subprocess.CompletedProcess[str]":
    target = locked.target(who)
    options = ("--address", target.address, "--ca", target.ca, "--cert", target.cert, "--key", target.key)
    command = [sys.executable, "-m", "controlplane.cli.main", *words, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_who_did_what_outlives_the_plane(locked: Locked) -> None:
    with locked.start(), Client(locked.target("alice")) as alice, Client(locked.target("bob")) as bob:
        alice.wait()
        assert bob.status().mode == pb.MODE_ENFORCE
        alice.set_mode(pb.MODE_OBSERVE)
        with pytest.raises(RefusedError, match="this needs the role operator"):
            bob.set_mode(pb.MODE_ENFORCE)
        assert bob.status().mode == pb.MODE_OBSERVE
        os.kill(locked.plane_pid(), signal.SIGKILL)
        alice.wait()
        assert alice.status().plane_restarts == 1
    locked.end()
    found = [(call.outcome, call.identity.rpartition("/")[2], call.code) for call in locked.calls()]
    assert found == [("begun", "alice", ""), ("done", "alice", "OK"), ("refused", "bob", "PERMISSION_DENIED")]


def test_commands_over_tls(locked: Locked) -> None:
    with locked.start(), Client(locked.target("alice")) as alice:
        alice.wait()
    assert reflexarc(locked, "bob", "status").returncode == Exit.DONE
    refused = reflexarc(locked, "bob", "mode", "off")
    assert refused.returncode == Exit.REFUSED
    assert "this needs the role operator" in refused.stderr
    assert reflexarc(locked, "node", "status").returncode == Exit.UNREACHABLE


def test_the_folders_of_sockets(locked: Locked) -> None:
    with locked.start():
        run = locked.folder / "run"
        assert (run / "plane").stat().st_mode & 0o7777 == 0o700
        assert (run / "viewer").stat().st_mode & 0o7777 == 0o2710
        assert (run / "viewer/management.sock").is_socket()
        assert not (run / "operator").exists()
        with Client(Target(socket=str(run / "viewer/management.sock"))) as viewer:
            assert viewer.status().pid == locked.pid
            with pytest.raises(RefusedError):
                viewer.undo_all()


def test_a_start_with_files_that_are_no_good(locked: Locked) -> None:
    (locked.pki / "node.key").chmod(0o600)
    os.chown(locked.pki / "node.key", 0, 0)
    done = subprocess.run(locked.command(), capture_output=True, text=True, check=False)
    assert done.returncode == Exit.BAD_POLICY
    assert "cannot be read by the unprivileged process" in done.stderr
    (locked.pki / "node.key").write_bytes((locked.pki / "alice.key").read_bytes())
    done = subprocess.run(locked.command(), capture_output=True, text=True, check=False)
    assert done.returncode == Exit.BAD_POLICY
    assert "node.key is not the key of" in done.stderr


def test_a_plane_that_starts_with_bad_files_waits_for_good_ones(locked: Locked) -> None:
    """The rest of it serves, and nobody has to restart anything."""
    with locked.start() as local, Client(locked.target("alice")) as alice:
        alice.wait()
        good = (locked.pki / "node.crt").read_bytes()
        with (locked.pki / "node.crt").open("wb") as file:
            file.write(b"junk")
        os.kill(locked.plane_pid(), signal.SIGKILL)
        local.wait()
        with Client(locked.target("alice")) as again, pytest.raises(ConnectError):
            again.status()
        with (locked.pki / "node.crt").open("wb") as file:
            file.write(good)
        alice.wait()
    locked.end()
    names = locked.notices()
    assert names.index("tls.refused") < len(names) - 1 - names[::-1].index("tls.rotated")
