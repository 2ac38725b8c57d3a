"""cgroup2 by id: where it is mounted, the path of an id, and a descriptor that cannot be of another.

The id of a cgroup is its inode number and its kernfs file handle, so opening by handle
either gives that very cgroup or fails; a path may have been reused meanwhile.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final

from controlplane.arc.kernel.descriptors import closed_with

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


def _told_of(pid: int | str) -> str | None:
    """A process's cgroup as /proc tells it: from the root of our cgroup namespace."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].rstrip("\n").removesuffix(" (deleted)")
    except OSError:
        return None
    return None


def _namespace_below(mount: str) -> str:
    """The root of our cgroup namespace, as a path below the mount point; empty where both are the same.

    A container has mostly a namespace of its own, while the node's whole hierarchy is mounted. Nothing tells
    where in it we are, so it is looked for, once.
    """
    own = _told_of("self")
    if own is None or not _reaches_above(mount):
        return ""
    pid = str(os.getpid())
    for directory, _, files in os.walk(mount):
        if "cgroup.procs" in files and pid in _processes_in(directory):
            return directory.removeprefix(mount).removesuffix(own.rstrip("/"))
    return ""


def _reaches_above(mount: str) -> bool:
    """Whether what is mounted begins above our namespace: mountinfo then has `/..` for its root."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = (line.split(" ") for line in file)
        return any(row[4] == mount and row[3].startswith("/..") for row in rows)


def _processes_in(directory: str) -> list[str]:
    """Numbers of its processes. One that is gone has none, and one for threads does not tell."""
    try:
        with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


class Cgroups:
    """The mounted hierarchy."""

    def __init__(self, mount: str) -> None:
        self.mount = mount
        self._fd = closed_with(self, os.open(mount, _FLAGS))
        self._handle = ctypes.create_string_buffer(_HANDLE.size)
        self._namespace = _namespace_below(mount)

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
        path = _told_of(pid)
        return path if path is None or not self._namespace else os.path.normpath(self._namespace + path)

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
