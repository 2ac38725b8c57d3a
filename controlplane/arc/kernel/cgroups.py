"""cgroup2 by id: where it is mounted, the path of an id, and a descriptor that cannot be of another.

The id of a cgroup is its inode number and its kernfs file handle, so opening by handle
either gives that very cgroup or fails; a path may have been reused meanwhile.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final

FILEID_KERNFS: Final = 0xFE
_HANDLE: Final = struct.Struct("=IiQ")
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_open_by_handle = _libc.open_by_handle_at
_open_by_handle.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_open_by_handle.restype = ctypes.c_int


def find_mount() -> str | None:
    """Mount point of the cgroup2 hierarchy, wherever it is; None when it is not mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, tail = line.partition(" - ")
            if tail.startswith("cgroup2 "):
                return fields.split(" ")[4].encode().decode("unicode_escape")
    return None


class Cgroups:
    """The mounted hierarchy."""

    def __init__(self, mount: str) -> None:
        self.mount = mount
        self._fd = os.open(mount, _FLAGS)
        self._handle = ctypes.create_string_buffer(_HANDLE.size)

    def must_open(self, cgroup: int) -> int:
        """A directory descriptor of the cgroup of that id; raises OSError (ESTALE: it is gone)."""
        _HANDLE.pack_into(self._handle, 0, 8, FILEID_KERNFS, cgroup)
        fd: int = _open_by_handle(self._fd, self._handle, _FLAGS)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return fd

    def path_of(self, cgroup: int) -> str | None:
        """Path below the mount point, `/` for the root; None when there is no such cgroup (any more)."""
        try:
            fd = self.must_open(cgroup)
        except OSError:
            return None
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if path.endswith(" (deleted)"):
            return None
        return path.removeprefix(self.mount) or "/"

    def id_of(self, path: str) -> int:
        """Id of the cgroup at a path below the mount point; raises OSError."""
        return os.stat(self.mount + path).st_ino

    def of_process(self, pid: int) -> str | None:
        """Path of a process's cgroup; None when the process is gone."""
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
                for line in file:
                    if line.startswith("0::"):
                        return line[3:].rstrip("\n").removesuffix(" (deleted)")
        except OSError:
            return None
        return None

    def walk(self) -> Iterator[tuple[int, str]]:
        """(id, path) of every cgroup that exists now."""
        for path, _, _ in os.walk(self.mount):
            below = path.removeprefix(self.mount) or "/"
            try:
                yield os.stat(path).st_ino, below
            except FileNotFoundError:
                continue


def must_read_file(directory: int, name: str) -> str:
    """Contents of one control file, without the trailing newline; raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, 65536).decode().rstrip("\n")
    finally:
        os.close(fd)


def must_write_file(directory: int, name: str, value: bytes) -> None:
    """Write one control file; raises OSError."""
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
