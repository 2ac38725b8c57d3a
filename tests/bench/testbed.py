"""Where benchmarks happen: cgroups of their own, C programs, processes that do not outlive the run."""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controlplane.arc.kernel.cgroups import find_mount

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
OBJECTS: Final = ROOT / "controlplane/arc/kernel/objects"
BIN: Final = HERE / "bin"
_FLAGS: Final = {
    "trigger": ("-static",),
    "storm": ("-static",),
    "fault": ("-static", "-lm"),
    "reuse": ("-static",),
    "reflex": ("-lbpf",),
}
WEEK_S: Final = 7 * 24 * 3600
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class CannotMeasureError(Exception):
    """The benchmark cannot run here, or what it started did not do its part."""


def compiled(name: str) -> Path:
    """The C program peer/NAME.c, compiled when its source, or the contract, is newer than what is there."""
    source, target = HERE / "peer" / f"{name}.c", BIN / name
    newest = max(path.stat().st_mtime for path in (source, ROOT / "bpf/events.h"))
    if not target.exists() or target.stat().st_mtime < newest:
        BIN.mkdir(exist_ok=True)
        command = (
            "gcc",
            "-std=gnu11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Werror",
            f"-I{ROOT / 'bpf'}",
        )
        new = target.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(source), "-o", str(new), *_FLAGS[name]], check=True)
        new.replace(target)
    return target


def compile_all() -> None:
    """Every C program, for a machine that takes long to do so."""
    for name in _FLAGS:
        compiled(name)


def cgroup_mount() -> Path:
    """Where cgroup2 is mounted."""
    mount = find_mount()
    if mount is None or os.geteuid() != 0:
        raise CannotMeasureError("needs root and a mounted cgroup2 hierarchy")
    return Path(mount)


@contextmanager
def cgroup(name: str) -> Iterator[Path]:
    """A fresh cgroup below the root of the hierarchy; at the end whatever lives in it is killed."""
    path = cgroup_mount() / f"reflexarc-bench-{os.getpid()}-{name}"
    path.mkdir()
    try:
        yield path
    finally:
        (path / "cgroup.freeze").write_text("0")
        (path / "cgroup.kill").write_text("1")
        await_cgroup(path, "populated 0")
        path.rmdir()


def await_cgroup(path: Path, *states: str, seconds: float = WEEK_S) -> str:
    """The first of `states` that cgroup.events says, empty when none came in time.

    Each change of the file is an exceptional condition on it.
    """
    end = time.monotonic() + seconds
    with (path / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while (left := end - time.monotonic()) > 0:
            text = events.read()
            if found := [state for state in states if state in text]:
                return found[0]
            poll.poll(min(1000, 1000 * left))
            events.seek(0)
    return ""


@contextmanager
def folder() -> Iterator[Path]:
    """A scratch folder that every user may enter, on tmpfs where there is one."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="reflexarc-bench-", dir=shm if shm.is_dir() else None))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start(command: Sequence[str | Path], **options: object) -> "subprocess.Popen[str]":
    """A process that is killed should this one die."""
    return subprocess.Popen(command, text=True, cwd=ROOT, preexec_fn=_die_with_us, **options)  # type: ignore[call-overload,no-any-return]  # noqa: PLW1509


def _die_with_us() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def running(command: Sequence[str | Path], **options: object) -> "Iterator[subprocess.Popen[str]]":
    """A process for the length of a block; it is asked to end, and killed when it does not."""
    process = start(command, **options)
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """SIGTERM, and SIGKILL ten seconds later."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module run by this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def watchdog(seconds: int) -> Iterator[None]:
    """Raise CannotMeasureError in the block when it takes longer; what it started is ended on the way out."""

    def bark(_number: int, _frame: object) -> None:
        raise CannotMeasureError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
