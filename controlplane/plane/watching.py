"""Tells when files may have changed, by inotify: written, replaced, or swapped by the link above them.

Watches the folders of the files and of what they lead to, as a Kubernetes secret is changed by renaming a
symbolic link beside them. Reads no file.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SETTLE_S: Final = 0.02
"""So much later it is told: certificate and key are replaced one after the other."""
# linux/inotify.h: ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE
_CHANGED: Final = 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watching(files: Sequence[Path], changed: Callable[[], None]) -> Iterator[None]:
    """Calls `changed` from the running loop while the block lasts. Raises OSError where a folder refuses."""
    watcher = _Watcher(files, changed)
    try:
        yield
    finally:
        watcher.close()


class _Watcher:
    def __init__(self, files: Sequence[Path], changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._settling: asyncio.TimerHandle | None = None
        self._fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        try:
            for folder in {file.parent for file in files}:
                self._watch(folder)
        except OSError:
            os.close(self._fd)
            raise
        self._follow()
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        if self._settling is not None:
            self._settling.cancel()

    def _read(self) -> None:
        os.read(self._fd, 65536)
        self._follow()
        if self._settling is None:
            self._settling = self._loop.call_later(SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._settling = None
        self._changed()

    def _follow(self) -> None:
        """Links may lead elsewhere now. A folder that is watched already is watched once."""
        for file in self._files:
            with suppress(OSError):
                self._watch(file.resolve().parent)

    def _watch(self, folder: Path) -> None:
        _checked(_libc.inotify_add_watch(self._fd, os.fsencode(folder), _CHANGED), str(folder))


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
