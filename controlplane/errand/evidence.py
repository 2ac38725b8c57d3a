"""How a victim is, written down before it is gone: command line, status, memory, stack, open files, counters.

Reads no environment: that is where secrets are kept. Command lines are read, and may hold some, so the files
are root's alone. Bounded in size and in number; the oldest are deleted.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

from controlplane.errand.alarm import LateError
from controlplane.link.errands import VICTIM_FD, About, Gather, Report

FOLDER: Final = "evidence"
MAX_FILES: Final = 64
MAX_BYTES: Final = 256 * 1024
MAX_PROCESSES: Final = 64
MAX_VALUE: Final = 8 * 1024
"""Of one file of the kernel's."""
MAX_OPEN_FILES: Final = 128
OF_CGROUP: Final = (
    *("cgroup.events", "cgroup.stat", "cgroup.procs", "cpu.stat", "io.stat"),
    *("memory.current", "memory.events", "memory.stat", "memory.swap.current", "pids.current", "pids.events"),
    *("cpu.pressure", "io.pressure", "memory.pressure"),
)
OF_PROCESS: Final = ("cmdline", "status", "smaps_rollup", "stack", "wchan", "cgroup")


def gather(errand: Gather) -> Report:
    """Write one file. What was read when time ran out is kept, and said to be cut off."""
    path = f"{errand.state_dir}/{FOLDER}/{errand.name}"
    deleted = 0
    try:
        folder = open_folder(errand.state_dir)
        deleted = delete_oldest(folder, MAX_FILES - 1)
        file = os.open(
            errand.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder
        )
        whole = write(file, sections(errand.about))
    except LateError:
        return Report(error="out of time", deleted=deleted)
    except OSError as failure:
        return Report(error=f"{path}: {failure.strerror}", deleted=deleted)
    return Report(detail=path if whole else f"{path}, cut off", in_effect=True, deleted=deleted)


def open_folder(state_dir: str) -> int:
    """The folder within the plane's own, which the plane must not have replaced. Raises OSError."""
    os.makedirs(state_dir, 0o700, exist_ok=True)
    state = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(FileExistsError):
        os.mkdir(FOLDER, 0o700, dir_fd=state)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=state)
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise OSError(errno.EPERM, "the folder is not root's alone")
    return folder


def delete_oldest(folder: int, keep: int) -> int:
    """How many there were too many: names begin with the time."""
    names = sorted(os.listdir(folder))
    for name in names[: max(0, len(names) - keep)]:
        os.unlink(name, dir_fd=folder)
    return max(0, len(names) - keep)


def write(file: int, texts: Iterable[str]) -> bool:
    """Whether there was time and room for all of it."""
    left = MAX_BYTES
    try:
        for text in texts:
            part = text.encode(errors="replace")[:left]
            os.write(file, part)
            left -= len(part)
            if not left:
                return False
    except LateError:
        return False
    return True


def sections(about: About) -> Iterator[str]:
    """The victim's files, each under its name."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    yield f"evidence of {about.path} at {stamp}, policy {about.policy}, trace {about.trace_id}\n"
    if about.pid:
        yield from process_sections(about.pid, VICTIM_FD)
        return
    for name in OF_CGROUP:
        yield from _section(VICTIM_FD, name)
    pids = processes_below(VICTIM_FD)
    for pid in pids[:MAX_PROCESSES]:
        yield from _member_sections(pid, about.path)
    if len(pids) > MAX_PROCESSES:
        yield f"\n{len(pids) - MAX_PROCESSES} more processes\n"


def _member_sections(pid: int, path: str) -> Iterator[str]:
    """Of a process that is, by its own word, still in the cgroup: its number may be another's by now."""
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        if f"0::{path}" in read(directory, "cgroup"):
            yield from process_sections(pid, directory)
    finally:
        os.close(directory)


def process_sections(pid: int, directory: int) -> Iterator[str]:
    """Of one process, through its directory in /proc."""
    yield f"\n==== process {pid}\n"
    for name in OF_PROCESS:
        yield from _section(directory, name)
    yield "\n== open files\n"
    yield from _open_files(directory)


def _section(directory: int, name: str) -> Iterator[str]:
    text = read(directory, name)
    if text:
        yield f"\n== {name}\n{text}\n"


def _open_files(directory: int) -> Iterator[str]:
    try:
        fd = os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        numbers = sorted(os.listdir(fd), key=int)
    except OSError:
        return
    for number in numbers[:MAX_OPEN_FILES]:
        with contextlib.suppress(OSError):
            yield f"{number} -> {os.readlink(number, dir_fd=fd)}\n"
    if len(numbers) > MAX_OPEN_FILES:
        yield f"{len(numbers) - MAX_OPEN_FILES} more\n"
    os.close(fd)


def read(directory: int, name: str) -> str:
    """One file of the kernel's; empty where it is not there or says nothing."""
    try:
        fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    except OSError:
        return ""
    try:
        data = os.read(fd, MAX_VALUE)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return data.decode(errors="replace").replace("\0", " ").rstrip("\n ")


def processes_below(directory: int) -> list[int]:
    """Of a cgroup and its descendants."""
    found: list[int] = []
    for _, _, _, below in os.fwalk(".", dir_fd=directory):
        found += map(int, read(below, "cgroup.procs").split())
    return found
