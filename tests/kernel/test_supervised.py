"""The daemon under a service manager: what it says on $NOTIFY_SOCKET, and when."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.link.capabilities import Capability
from controlplane.link.credentials import PR_SET_NO_NEW_PRIVS
from tests.kernel.test_daemon import Daemon, daemon
from tests.patience import patient

__all__ = ["daemon"]

UNIT = Path(__file__).resolve().parents[2] / "deploy/systemd/reflexarc.service"
CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for words in sys.argv[1].split():
    libc.prctl(int(words), 1, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
FLAGS = {"MemoryDenyWriteExecute": 65, "NoNewPrivileges": PR_SET_NO_NEW_PRIVS}
"""Settings of the unit, and what does the same: PR_SET_MDWE is known from Linux 6.3 on."""


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


def confined(command: list[str]) -> list[str]:
    """With the bounding set of the unit, and those of its settings that one process can make for itself."""
    text = UNIT.read_text()
    names = set(
        re.findall(r"CAP_(\w+)", " ".join(re.findall(r"^CapabilityBoundingSet=.*$", text, re.MULTILINE)))
    )
    there = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    kept = [each.name.lower() for each in Capability if each.name in names and there >> each & 1]
    flags = " ".join(str(flag) for name, flag in FLAGS.items() if f"\n{name}=yes\n" in text)
    bounding = f"--bounding-set=-all,{','.join(f'+{name}' for name in kept)}"
    return ["setpriv", bounding, sys.executable, "-c", CONFINED, flags, *command]


def test_it_can_do_with_what_the_unit_leaves_it(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    with daemon.start() as client:
        free = {sensor.name: sensor.attached for sensor in client.sensors()}
    daemon.end()
    command = confined(daemon.command())
    monkeypatch.setattr(daemon, "command", lambda: command)
    with daemon.start() as client:
        assert {sensor.name: sensor.attached for sensor in client.sensors()} == free
        capabilities = Path(f"/proc/{daemon.pid}/status").read_text().partition("CapBnd:")[2].split()[0]
        assert int(capabilities, 16) & ~sum(1 << each for each in Capability) == 0
    daemon.end()
