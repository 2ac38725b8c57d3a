"""What streams have taught, kept over a restart of the daemon: one file in the runtime folder.

Streams are named by their keys, which mean nothing after a reboot, so it lives on tmpfs and counts only
within the boot that wrote it. A damaged file is a fresh start.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.past import SavedPast
from controlplane.arc.monitor.streams import Monitor, SavedTest
from controlplane.link.malformed import MALFORMED
from controlplane.link.rules import NS
from controlplane.link.signals import Known

VERSION: Final = 1
NAME: Final = "baselines"
MAX_BYTES: Final = 64 * 1024 * 1024
EVERY_NS: Final = 600 * NS
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """Everything learned."""

    version: int = VERSION
    boot: str = ""
    numbers: dict[str, int] = {}
    """Of the signals, as they were then: a user's sensor may have come or gone since."""
    pasts: list[SavedPast] = []
    tests: list[SavedTest] = []


class UnreadableError(Exception):
    """The file cannot be taken; the text says why."""


_DECODER: Final = msgspec.msgpack.Decoder(Saved)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Baselines:
    """Keeps what bookmaker and monitor know: on a stop, and in passing every ten minutes."""

    def __init__(self, folder: int, bookmaker: Bookmaker, monitor: Monitor, known: Known) -> None:
        """`folder` is the descriptor of a directory that nobody else may write in."""
        self._folder = folder
        self._bookmaker = bookmaker
        self._monitor = monitor
        self._by_cgroup = {monitor.numbers[name] for name, signal in known.items() if signal.key == "cgroup"}
        self._due_ns = 0

    def restore(self, now_ns: int) -> str:
        """Once cgroups are known, before rules are in force. Why the file is of no use, empty when it is."""
        self._due_ns = now_ns + EVERY_NS
        try:
            saved = load(self._folder)
        except UnreadableError as error:
            return str(error)
        if saved.numbers == self._monitor.numbers:
            self._bookmaker.restore((past for past in saved.pasts if self._lives(past)), now_ns)
            self._monitor.remember(saved.tests)
        return ""

    def _lives(self, past: SavedPast) -> bool:
        return past.signal not in self._by_cgroup or past.key in self._monitor.places

    def tend(self, now_ns: int) -> None:
        """While awake anyway. Nothing is lost that a crash may not take."""
        if self._due_ns <= now_ns:
            self._due_ns = now_ns + EVERY_NS
            self.save()

    def save(self) -> None:
        """Now. A full disk costs the baselines and nothing else."""
        with contextlib.suppress(OSError):
            boot, numbers = BOOT_ID.read_text().strip(), dict(self._monitor.numbers)
            pasts, tests = self._bookmaker.saved(), self._monitor.saved()
            save(self._folder, Saved(boot=boot, numbers=numbers, pasts=pasts, tests=tests))


def save(folder: int, saved: Saved) -> None:
    """The file appears whole or not at all. Raises OSError."""
    fd = os.open(f"{NAME}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        file.write(_ENCODER.encode(saved))
    os.rename(f"{NAME}.new", NAME, src_dir_fd=folder, dst_dir_fd=folder)


def load(folder: int) -> Saved:
    """Empty where there are none of this boot. Raises UnreadableError."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return Saved()
    except OSError as error:
        raise UnreadableError(error.strerror) from None
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        found = _DECODER.decode(data)
    except MALFORMED as error:
        raise UnreadableError(str(error)) from None
    if found.version != VERSION:
        raise UnreadableError(f"is of version {found.version}, and this is {VERSION}")
    return found if found.boot == BOOT_ID.read_text().strip() else Saved()
