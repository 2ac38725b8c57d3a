"""What a service manager is told, over a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.supervisor import AGAIN_NS, Supervisor

SECOND = 1_000_000_000


class Listener:
    """Who listens at $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address.replace("@", "\0", 1))
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[list[str]]:
        """Every datagram since, by lines."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode().splitlines())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify") if request.param == "path" else f"@reflexarc-test-{os.getpid()}")
    with made.socket:
        yield made


def test_all_that_is_told(listener: Listener) -> None:
    supervisor = Supervisor(listener.environ)
    supervisor.ready(SECOND, 12)
    supervisor.reloading(2 * SECOND)
    supervisor.ready(3 * SECOND, 12, "a.yaml:3: no\nhint")
    supervisor.stopping(4 * SECOND)
    assert listener.heard() == [
        ["READY=1", "STATUS=armed, 12 policies"],
        ["RELOADING=1", "MONOTONIC_USEC=2000000"],
        ["READY=1", "STATUS=armed, 12 policies as before, for: a.yaml:3: no"],
        ["STOPPING=1", "STATUS=taking back what is in force"],
    ]
    assert supervisor.next_due() == 0
    supervisor.close()


def test_a_watchdog_that_is_asked_for_hears_of_us_twice_a_period(listener: Listener) -> None:
    asked = {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
    supervisor = Supervisor(listener.environ | asked)
    assert supervisor.next_due() == 0
    supervisor.ready(SECOND, 1)
    assert supervisor.next_due() == 6 * SECOND
    listener.heard()
    supervisor.tend(6 * SECOND - 1)
    assert listener.heard() == []
    supervisor.tend(7 * SECOND)
    assert listener.heard() == [["WATCHDOG=1"]]
    assert supervisor.next_due() == 12 * SECOND
    supervisor.close()


@pytest.mark.parametrize("asked", [{}, {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}])
def test_nothing_wakes_us_where_no_watchdog_is_ours(listener: Listener, asked: dict[str, str]) -> None:
    supervisor = Supervisor(listener.environ | asked)
    supervisor.ready(SECOND, 1)
    assert supervisor.next_due() == 0
    supervisor.close()


def test_what_is_not_taken_is_sent_later_and_once(listener: Listener) -> None:
    supervisor = Supervisor(listener.environ | {"WATCHDOG_USEC": "2000000"})
    taken = 0
    while supervisor.next_due() != taken * SECOND + AGAIN_NS:
        taken += 1
        supervisor.ready(taken * SECOND, taken)
    supervisor.reloading(taken * SECOND)
    supervisor.ready(taken * SECOND, 77)
    supervisor.tend((taken + 9) * SECOND)
    assert all(lines[0] == "READY=1" for lines in listener.heard())
    supervisor.tend((taken + 10) * SECOND)
    assert [lines[:2] for lines in listener.heard()] == [
        ["RELOADING=1", f"MONOTONIC_USEC={taken * 1_000_000}"],
        ["READY=1", "STATUS=armed, 77 policies"],
        ["WATCHDOG=1"],
    ]
    supervisor.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nonexistent"}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_where_nobody_listens_nobody_is_told(environ: dict[str, str]) -> None:
    supervisor = Supervisor(environ | {"WATCHDOG_USEC": "2000000"})
    supervisor.ready(SECOND, 1)
    supervisor.stopping(2 * SECOND)
    supervisor.close()


def test_who_has_gone_is_forgotten(listener: Listener) -> None:
    supervisor = Supervisor(listener.environ | {"WATCHDOG_USEC": "2000000"})
    supervisor.ready(SECOND, 1)
    listener.socket.close()
    supervisor.tend(2 * SECOND)
    assert supervisor.next_due() == 0
    supervisor.stopping(3 * SECOND)
