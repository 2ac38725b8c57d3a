"""Runs a command where programs of another machine run, too: `foreign.py aarch64 FOLDER COMMAND ...` (root).

In a user namespace with a binfmt_misc of its own (Linux 6.7), so that nothing of it is seen on the host;
containers are stored in FOLDER there. The programs are emulated by Debian's qemu-user-static.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
ELF_MACHINE: Final = {"aarch64": 183}
BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
ALL_IDS: Final = "0 0 4294967295\n"
STORAGE: Final = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
[storage.options.overlay]
mount_program = "/usr/bin/fuse-overlayfs"
"""
"""The kernel's own overlay cannot rename folders there, as dpkg does."""


def main() -> None:
    """Until the command ends, with its exit status."""
    machine, folder, *command = sys.argv[1:]
    ready, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        os.write(ready[1], b"1")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        within(machine, Path(folder).resolve(), command)
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(ALL_IDS)
    os.write(mapped[1], b"1")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def within(machine: str, folder: Path, command: list[str]) -> None:
    """Runs the command, once the emulator is known to the kernel of this namespace."""
    subprocess.run(["mount", "-t", "binfmt_misc", "none", BINFMT], check=True)
    Path(BINFMT, "register").write_bytes(registration(machine))
    folder.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(STORAGE.format(folder=folder))
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}
    sys.exit(subprocess.run(command, check=False, env=environment).returncode)


def registration(machine: str) -> bytes:
    """Documentation/admin-guide/binfmt-misc.rst: 64-bit little-endian ELF programs of that machine.

    F opens the emulator now, so that it need not be in the containers.
    """
    magic = b"\\x7fELF\\x02\\x01\\x01" + b"\\x00" * 9 + b"\\x02\\x00\\x%02x\\x00" % ELF_MACHINE[machine]
    mask = b"\\xff" * 7 + b"\\x00" + b"\\xff" * 8 + b"\\xfe" + b"\\xff" * 3
    emulator = f"/usr/bin/qemu-{machine}-static"
    return b":".join((b"", machine.encode(), b"M", b"", magic, mask, emulator.encode(), b"F"))


def unshare(flags: int) -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace can be made")


if __name__ == "__main__":
    main()
