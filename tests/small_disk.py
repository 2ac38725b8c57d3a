"""A small file system that one process and its children see: filled, emptied, made read-only."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 2 * 1024 * 1024
_MOUNT: Final = f'mount -t tmpfs -o size={SIZE},mode=0755 none "$0" && exec "$@"'
BLOCK: Final = bytes(4096)


def beside(directory: Path, command: Sequence[str]) -> list[str]:
    """The command in a mount namespace of its own, in which the directory, which exists, is such a disk."""
    unshare = ("unshare", "--mount", "--propagation", "private")
    return [*unshare, "sh", "-c", _MOUNT, str(directory), *command]


class SmallDisk:
    """The disk that a process sees at a directory."""

    def __init__(self, pid: int, directory: Path) -> None:
        self._pid = pid
        self._directory = directory
        self._filler = Path(f"/proc/{pid}/root{directory}/filler")

    def fill(self) -> None:
        """Until nothing has room."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(BLOCK)

    def make_room(self) -> None:
        """Take away what filled it."""
        self._filler.unlink()

    def read_only(self, *, read_only: bool) -> None:
        """Tried again while somebody writes: only then does the kernel refuse."""
        option = "remount,ro" if read_only else "remount,rw"
        command = ("nsenter", "--mount", f"--target={self._pid}", "mount", "-o", option, str(self._directory))
        while subprocess.run(command, capture_output=True, check=False).returncode:
            pass
