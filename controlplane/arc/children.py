"""Processes the arc starts: the plane, kept alive with backoff, and the policy compiler, once per change.

Started by posix_spawn (no copy of locked memory), with a normal scheduler, clean signal mask and only
the descriptors they need; watched by pidfd.
"""

import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from controlplane.arc.kernel.descriptors import closed_with
from controlplane.arc.loop import Loop
from controlplane.link.config import Config
from controlplane.link.frames import ENCODER, Closing

FIRST_BACKOFF_NS: Final = 100_000_000
MAX_BACKOFF_NS: Final = 10_000_000_000
HEALTHY_NS: Final = 60_000_000_000
"""A plane that lived this long is restarted at once again."""
STOP_SECONDS: Final = 6.0
MS_PER_SECOND: Final = 1000
LINK_BYTES: Final = 1 << 20
FILES_A_FRAME: Final = 128
"""The kernel takes 253 at most."""
CLOSING: Final = ENCODER.encode(Closing())


def spawn(module: str, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Run `python -P -m module` with `descriptors` as 3, 4, 5 ...; its pid."""
    # First out of the way of the targets, then into place.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
    actions: list[tuple[int, int, int]] = [
        (os.POSIX_SPAWN_DUP2, fd, 3 + number) for number, fd in enumerate(high)
    ]
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", module, *arguments],
            os.environ,
            file_actions=actions,
            setsigmask=(),
        )
    finally:
        for fd in high:
            os.close(fd)


def ends_within(pidfd: int, seconds: float) -> bool:
    """Block until that process has ended; False when it did not in that time."""
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    return bool(ended.poll(seconds * MS_PER_SECOND))


class Child:
    """A running child; `ended` is called once with its wait status."""

    def __init__(self, loop: Loop, pid: int, ended: Callable[[int], None]) -> None:
        self.pid = pid
        self._loop = loop
        self._ended = ended
        self._pidfd = os.pidfd_open(pid)
        loop.add(self._pidfd, self.exited)

    def wait(self, seconds: float) -> bool:
        """Block until it has ended; False when it did not in that time. Only while stopping."""
        return ends_within(self._pidfd, seconds)

    def exited(self) -> None:
        """It has ended: reap it."""
        self._ended(self._reap())

    def abandon(self) -> None:
        """Kill it and reap it; nobody is told. Only while stopping."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> int:
        self._loop.remove(self._pidfd)
        os.close(self._pidfd)
        return os.waitpid(self.pid, 0)[1]


class Plane:
    """The plane, the arc's end of its link, and when to start it again."""

    def __init__(
        self,
        loop: Loop,
        doorbell: int,
        config: Config,
        signals: int,
        received: Callable[[bytes], None],
        clock: Callable[[], int],
    ) -> None:
        """`signals`: descriptor of the user's own signals."""
        self._loop = loop
        self._signals = signals
        self._doorbell = doorbell
        self._config = closed_with(self, os.memfd_create("config"))
        os.write(self._config, msgspec.msgpack.encode(config))
        self._received = received
        self._clock = clock
        self._backoff_ns = 0
        self._started_ns = 0
        self._link: socket.socket | None = None
        self._child: Child | None = None
        self.next_start_ns = 0
        self.restarts = 0
        self.dropped = 0
        """Frames for which the link had no room."""
        self.stopping = False
        self._new = False

    @property
    def pid(self) -> int:
        """0 while it is not running."""
        return self._child.pid if self._child else 0

    def start(self) -> None:
        """Start it with a link of its own."""
        self._started_ns = self._clock()
        self.next_start_ns = 0
        try:
            self._start()
        except OSError:
            # No process or descriptor to be had, as in a fork storm: the arc goes on without its plane.
            self._back_off()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BYTES)
        os.lseek(self._config, 0, os.SEEK_SET)
        with theirs:
            arguments = ("--link-fd", "3", "--doorbell-fd", "4", "--config-fd", "5", "--signals-fd", "6")
            given = (theirs.fileno(), self._doorbell, self._config, self._signals)
            pid = spawn("controlplane.plane", arguments, given)
        self._link = ours
        self._new = True
        self._child = Child(self._loop, pid, self._ended)
        self._loop.add(ours.fileno(), self._read)

    def must_send(self, frame: bytes) -> None:
        """Best effort: what does not fit is counted and dropped."""
        if self._link is None:
            return
        try:
            self._link.send(frame)
        except OSError:
            self.dropped += 1

    def close_there(self, fds: Sequence[int]) -> None:
        """Close files: waiting for the last of each, if it takes long, is for the plane while it runs.

        It takes only bytes off the link, so the kernel closes there what came with them.
        """
        for first in range(0, len(fds), FILES_A_FRAME):
            if self._link is not None:
                with suppress(OSError):
                    socket.send_fds(self._link, [CLOSING], fds[first : first + FILES_A_FRAME])
        for fd in fds:
            os.close(fd)

    def _read(self) -> None:
        if self._link is None:
            return
        try:
            frame = self._link.recv(65536)
        except OSError:
            frame = b""
        if frame:
            self._received(frame)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._link is not None:
            self._loop.remove(self._link.fileno())
            self._link.close()
            self._link = None

    def _ended(self, _status: int) -> None:
        self._hang_up()
        self._child = None
        if not self.stopping:
            self._back_off()

    def _back_off(self) -> None:
        now = self._clock()
        if now - self._started_ns > HEALTHY_NS:
            self._backoff_ns = 0
        self.restarts += 1
        self.next_start_ns = now + self._backoff_ns + 1
        self._backoff_ns = min(MAX_BACKOFF_NS, max(FIRST_BACKOFF_NS, self._backoff_ns * 2))

    def is_new(self) -> bool:
        """True once for each plane that was started."""
        new, self._new = self._new, False
        return new

    def finish(self) -> None:
        """Ask it to stop and wait until it has; it is not started again."""
        self.stopping = True
        if self._child is None:
            return
        os.kill(self._child.pid, signal.SIGTERM)
        if not self._child.wait(STOP_SECONDS):
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait(STOP_SECONDS)
