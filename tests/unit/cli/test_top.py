"""`reflexarc top`: on a terminal, away from one, before the daemon is up, and without rich."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.plane import told
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served

TOP = (sys.executable, "-m", "controlplane.cli.main", "top", "--socket")
ALTERNATE_SCREEN, MAIN_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


@contextmanager
def on_terminal(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command with a terminal of 30 lines of its own, and our end of that terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 130, 0, 0))
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        yield process, ours
        process.terminate()
    os.close(ours)


def read_until(terminal: int, *marks: bytes) -> bytes:
    seen = b""
    while not all(mark in seen for mark in marks):
        seen += os.read(terminal, 65536)
    return seen


def read_rest(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # how a terminal says that its other end is closed
            return seen


def test_a_live_view_that_leaves_the_terminal_clean(plane: Served) -> None:
    with on_terminal(*TOP, plane.target.socket) as (process, terminal):
        plane.await_watcher()
        plane.feed(told.finding(), told.intent(mode="observe"))
        seen = read_until(terminal, b"process.fork rate 812", b"would freeze /storm", b"mode \x1b[32mobserve")
        process.send_signal(signal.SIGINT)
        seen += read_rest(terminal)
        assert process.wait(10) == 0
    assert ALTERNATE_SCREEN in seen
    assert HIDE_CURSOR in seen
    assert seen.rindex(MAIN_SCREEN) > seen.rindex(ALTERNATE_SCREEN)
    assert seen.rindex(SHOW_CURSOR) > seen.rindex(HIDE_CURSOR)


def test_the_end_of_the_daemon_ends_the_view(loop: LoopThread, tmp_path: Path) -> None:
    with served(loop, tmp_path) as plane, on_terminal(*TOP, plane.target.socket) as (process, terminal):
        read_until(terminal, b"told")
        plane.loop.call(plane.story.end)
        seen = read_rest(terminal)
        assert process.wait(10) == 5
    assert seen.index(MAIN_SCREEN) < seen.index(b"reflexarc: the daemon stops")


def test_lines_away_from_a_terminal_as_soon_as_the_daemon_is_up(loop: LoopThread, tmp_path: Path) -> None:
    path = str(tmp_path / "management.sock")
    with subprocess.Popen([*TOP, path, "--wait"], stdout=subprocess.PIPE, text=True) as process:
        with served(loop, tmp_path) as plane:
            plane.await_watcher()
            plane.feed(told.finding())
            assert process.stdout is not None
            assert "fork-storm: process.fork" in process.stdout.readline()
        assert process.wait(10) == 5


def test_without_rich_it_says_what_to_install(plane: Served) -> None:
    program = (
        "import sys; sys.modules['rich'] = None; sys.modules['rich.console'] = None;"
        "from controlplane.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    with on_terminal(sys.executable, "-c", program, "top", "--socket", plane.target.socket) as (
        process,
        terminal,
    ):
        seen = read_rest(terminal)
        assert process.wait(10) == 1
    assert b"pip install 'reflexarc[cli]'" in seen
