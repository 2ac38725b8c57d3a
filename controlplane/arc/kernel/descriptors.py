"""Kernel objects that become readable: timerfd, signalfd, inotify. Python 3.11 has none of them, libc has."""

import ctypes
import errno
import os
import signal
import struct
import weakref
from collections.abc import Iterable
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2
_NEVER_S: Final = 1 << 40
_ITIMERSPEC: Final = struct.Struct("@llll")
_NS: Final = 1_000_000_000
_SIGSET_BYTES: Final = 128

IN_CHANGED: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200
"""IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE."""


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def closed_with(owner: object, fd: int) -> int:
    """`fd`, which is closed once nothing refers to `owner` any more."""
    weakref.finalize(owner, os.close, fd)
    return fd


class WallClock:
    """Readable once the wall clock was set, or the machine has slept; silent while time only passes."""

    def __init__(self) -> None:
        fd = _checked(_libc.timerfd_create(CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK))
        self.fd = closed_with(self, fd)
        self._spec = _ITIMERSPEC.pack(0, 0, _NEVER_S, 0)
        self._arm()

    def was_set(self) -> bool:
        """Whether it was, since the last call. Listens for the next time."""
        try:
            os.read(self.fd, 8)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                return False
        self._arm()
        return True

    def _arm(self) -> None:
        # Fails with ECANCELED when the clock was set once more, and listens all the same.
        _libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, self._spec, None)


class Timer:
    """A timerfd that is armed only while something is due."""

    def __init__(self) -> None:
        fd = _checked(_libc.timerfd_create(CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK))
        self.fd = closed_with(self, fd)
        self._spec = ctypes.create_string_buffer(_ITIMERSPEC.size)
        self._armed_ns = 0

    def must_arm(self, at_ns: int) -> None:
        """Fire at that CLOCK_MONOTONIC time; 0 disarms. No system call when nothing changes."""
        if at_ns == self._armed_ns:
            return
        self._armed_ns = at_ns
        _ITIMERSPEC.pack_into(self._spec, 0, 0, 0, at_ns // _NS, at_ns % _NS)
        _libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, self._spec, None)

    def expired(self) -> None:
        """It fired: make it unreadable and forget when it was for."""
        os.read(self.fd, 8)
        self._armed_ns = 0


def open_signals(signals: Iterable[signal.Signals]) -> int:
    """Block these signals and return a descriptor that is readable when one has come."""
    chosen = list(signals)
    signal.pthread_sigmask(signal.SIG_BLOCK, chosen)
    bits = sum(1 << number - 1 for number in chosen)
    mask = bits.to_bytes(_SIGSET_BYTES, "little")
    return _checked(_libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK))


def read_signal(fd: int) -> int:
    """Number of the next signal."""
    return int.from_bytes(os.read(fd, 128)[:4], "little")


def watch_folder(path: str) -> int:
    """A descriptor that is readable when a file of the folder changed; raises OSError."""
    fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        _checked(_libc.inotify_add_watch(fd, path.encode(), IN_CHANGED))
    except OSError:
        os.close(fd)
        raise
    return fd
