"""A guest's initramfs: busybox, a first program, and the modules without which its root cannot be mounted.

Written here byte by byte (Documentation/driver-api/early-userspace/buffer-format.rst), so no cpio is needed.
"""

import gzip
import lzma
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BUSYBOX: Final = Path("/bin/busybox")
INIT: Final = Path(__file__).with_name("init.sh")
NEEDED: Final = ("virtio_pci", "virtiofs", "overlay")
FOLDERS: Final = ("bin", "dev", "host", "layer", "modules", "proc", "root", "sys")


def write_initramfs(modules: Path, target: Path, init: Path = INIT, needed: Iterable[str] = NEEDED) -> None:
    """For the kernel with these modules; modules.dep is written beside them, for its modprobe."""
    base, release = modules.parents[2], modules.name
    subprocess.run(["depmod", "-b", base, release], check=True)
    files = {"init": init.read_bytes(), "bin/busybox": BUSYBOX.read_bytes()}
    loaded = in_order(dependencies((modules / "modules.dep").read_text()), needed)
    for path in loaded:
        files[f"modules/{_plain(path)}"] = _module(modules / path)
    files["modules/order"] = "".join(f"{_plain(path)}\n" for path in loaded).encode()
    new = target.with_suffix(".new")
    new.write_bytes(gzip.compress(archive(files), 1))
    new.replace(target)


def dependencies(text: str) -> dict[str, list[str]]:
    """modules.dep: name of a module -> its file and those it needs, in the order in which they are listed."""
    lines = (line.replace(":", "").split() for line in text.splitlines())
    return {_plain(files[0]).removesuffix(".ko").replace("-", "_"): files for files in lines if files}


def in_order(known: dict[str, list[str]], names: Iterable[str]) -> list[str]:
    """Files to load for modules of these names, each after what it needs. One that is unknown is built in."""
    needed = (path for name in names for path in reversed(known.get(name, [])))
    return list(dict.fromkeys(needed))


def _plain(path: str) -> str:
    return Path(path).name.removesuffix(".xz")


def _module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def archive(files: dict[str, bytes]) -> bytes:
    """An archive in the form "newc" of executable files, with the folders that they and init.sh need."""
    entries = [_entry(folder, stat.S_IFDIR | 0o755, b"") for folder in FOLDERS]
    entries += [_entry(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Thirteen numbers in hexadecimal, then the name, then the contents, each padded to four bytes."""
    named = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(named), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + named
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
