"""What streams have taught, kept over a restart of the daemon: one file in the runtime folder.

Streams are named by their keys, which mean nothing after a reboot, so it lives on tmpfs and counts only
within the boot that wrote it. A damaged file is a fresh start.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from controlplane.arc.monitor.past import SavedPast
from controlplane.link.malformed import MALFORMED

VERSION: Final = 1
NAME: Final = "baselines"
MAX_BYTES: Final = 64 * 1024 * 1024
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Baselines(msgspec.Struct, frozen=True, array_like=True):
    """Everything learned."""

    version: int = VERSION
    boot: str = ""
    pasts: list[SavedPast] = []


class UnreadableError(Exception):
    """The file cannot be taken; the text says why."""


_DECODER: Final = msgspec.msgpack.Decoder(Baselines)
_ENCODER: Final = msgspec.msgpack.Encoder()


def save(folder: int, pasts: list[SavedPast]) -> None:
    """The file appears whole or not at all. Raises OSError."""
    boot = BOOT_ID.read_text().strip()
    fd = os.open(f"{NAME}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        file.write(_ENCODER.encode(Baselines(boot=boot, pasts=pasts)))
    os.rename(f"{NAME}.new", NAME, src_dir_fd=folder, dst_dir_fd=folder)


def load(folder: int) -> Baselines:
    """Empty where there are none of this boot. Raises UnreadableError."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return Baselines()
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
    return found if found.boot == BOOT_ID.read_text().strip() else Baselines()
