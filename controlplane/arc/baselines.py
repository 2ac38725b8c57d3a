"""What streams have taught, kept over a restart of the daemon: one file in the runtime folder.

Streams are named by their keys, which mean nothing after a reboot, so it lives on tmpfs and counts only
within the boot that wrote it. A damaged file is a fresh start.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.past import SavedPast
from controlplane.arc.monitor.streams import Monitor, SavedTest
from controlplane.link.malformed import MALFORMED
from controlplane.link.rules import NS
from controlplane.link.signals import Known

VERSION: Final = 2
NAME: Final = "baselines"
MAX_BYTES: Final = 64 * 1024 * 1024
EVERY_NS: Final = 600 * NS
PART: Final = 32
"""Streams that are written in one go: some hundred microseconds."""
FREED: Final = 128 * 1024
LENGTH: Final = 4
"""Bytes before each piece of the file that say how long it is."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The first piece of the file."""

    version: int = VERSION
    boot: str = ""
    numbers: dict[str, int] = {}
    """Of the signals, as they were then: a user's sensor may have come or gone since."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Every other piece: what some streams have taught."""

    pasts: list[SavedPast] = []
    tests: list[SavedTest] = []


class UnreadableError(Exception):
    """The file cannot be taken; the text says why."""


Piece = TypeVar("Piece", Head, Part)

_HEAD: Final = msgspec.msgpack.Decoder(Head)
_PART: Final = msgspec.msgpack.Decoder(Part)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Baselines:
    """Keeps what bookmaker and monitor know: on a stop, and in passing every ten minutes."""

    def __init__(
        self,
        folder: int,
        bookmaker: Bookmaker,
        monitor: Monitor,
        known: Known,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` is the descriptor of a directory that nobody else may write in.

        `breathe` lets the ring go first, and is called between the parts of the file.
        """
        self._folder = folder
        self._bookmaker = bookmaker
        self._monitor = monitor
        self._by_cgroup = {monitor.numbers[name] for name, signal in known.items() if signal.key == "cgroup"}
        self._breathe = breathe
        self._due_ns = 0

    def restore(self, now_ns: int) -> str:
        """Once cgroups are known, before rules are in force. Why the file is of no use, empty when it is."""
        self._due_ns = now_ns + EVERY_NS
        try:
            head, part = load(self._folder)
        except UnreadableError as error:
            return str(error)
        if head.numbers == self._monitor.numbers:
            self._bookmaker.restore((past for past in part.pasts if self._lives(past)), now_ns)
            self._monitor.remember(part.tests)
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
            head = Head(boot=BOOT_ID.read_text().strip(), numbers=dict(self._monitor.numbers))
            before = opened(self._folder)
            save(self._folder, head, self._parts())
            self._let_go(before)

    def _let_go(self, before: int) -> None:
        """To free the memory of a file takes as long as to write it, so that is done in parts, too."""
        if before < 0:
            return
        for size in range(os.fstat(before).st_size, 0, -FREED):
            os.ftruncate(before, size)
            self._breathe()
        os.close(before)

    def _parts(self) -> Iterator[Part]:
        """Streams may come and go at each breath."""
        pasts, tests = self._bookmaker.saved(), self._monitor.saved()
        while some := list(islice(pasts, PART)):
            yield Part(pasts=some)
            self._breathe()
        while learned := list(islice(tests, PART)):
            yield Part(tests=learned)
            self._breathe()


def save(folder: int, head: Head, parts: Iterator[Part]) -> None:
    """The file appears whole or not at all. Raises OSError."""
    fd = os.open(f"{NAME}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        for piece in chain((head,), parts):
            data = _ENCODER.encode(piece)
            file.write(len(data).to_bytes(LENGTH))
            file.write(data)
    os.rename(f"{NAME}.new", NAME, src_dir_fd=folder, dst_dir_fd=folder)


def opened(folder: int) -> int:
    """The file that there is, -1 where there is none. Raises OSError."""
    try:
        return os.open(NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return -1


def load(folder: int) -> tuple[Head, Part]:
    """All parts in one; empty where there are none of this boot. Raises UnreadableError."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return Head(), Part()
    except OSError as error:
        raise UnreadableError(error.strerror) from None
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES >> 20} MiB")
    first, *others = pieces(data)
    head, whole = decoded(_HEAD, first), Part()
    if head.version != VERSION:
        raise UnreadableError(f"is of version {head.version}, and this is {VERSION}")
    if head.boot != BOOT_ID.read_text().strip():
        return Head(), whole
    for piece in others:
        part = decoded(_PART, piece)
        whole.pasts.extend(part.pasts)
        whole.tests.extend(part.tests)
    return head, whole


def pieces(data: bytes) -> Iterator[bytes]:
    """What the file is made of, at least one. Raises UnreadableError where it ends within a piece."""
    at = 0
    while at < len(data) or not at:
        length = int.from_bytes(data[at : at + LENGTH])
        at += LENGTH
        if at + length > len(data):
            raise UnreadableError("is cut off")
        yield data[at : at + length]
        at += length


def decoded(decoder: msgspec.msgpack.Decoder[Piece], piece: bytes) -> Piece:
    """One piece. Raises UnreadableError."""
    try:
        return decoder.decode(piece)
    except MALFORMED as error:
        raise UnreadableError(str(error)) from None
