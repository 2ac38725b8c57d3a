"""The daemon under a service manager: what it says on $NOTIFY_SOCKET, and when."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.test_daemon import Daemon, daemon
from tests.patience import patient

__all__ = ["daemon"]


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(patient(10))

    def hear(self) -> list[str]:
        """The next datagram, by lines."""
        return self.socket.recv(4096).decode().splitlines()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with made.socket:
        yield made


def test_it_is_ready_once_armed_reloads_and_stops(daemon: Daemon, manager: Manager) -> None:
    with daemon.start():
        ready = manager.hear()
        assert ready[0] == "READY=1"
        policies = ready[1].partition("armed, ")[2]
        os.kill(daemon.pid, signal.SIGHUP)
        assert manager.hear()[0] == "RELOADING=1"
        assert manager.hear() == ["READY=1", f"STATUS=armed, {policies}"]
        (daemon.policies / "bad.yaml").write_text("kind: Nonsense\n")
        bad = manager.hear()
        assert bad[1].startswith(f"STATUS=armed, {policies} as before, for: ")
        assert "bad.yaml" in bad[1]
        daemon.end()
    assert manager.hear()[0] == "STOPPING=1"


def test_a_watchdog_hears_of_it_while_it_turns_and_not_when_it_stands(
    daemon: Daemon, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with daemon.start():
        assert manager.hear()[0] == "READY=1"
        assert [manager.hear() for _ in range(3)] == [["WATCHDOG=1"]] * 3
        os.kill(daemon.pid, signal.SIGSTOP)
        manager.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            [manager.hear() for _ in range(4)]
        os.kill(daemon.pid, signal.SIGCONT)
        assert manager.hear() == ["WATCHDOG=1"]
