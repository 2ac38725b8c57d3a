"""Priorities of one process, through its directory in /proc, which is of that very process for good.

Nice values and I/O priorities belong to threads: those that share the first thread's value share its fate,
and those that were given another one keep it.
"""

import contextlib
import ctypes
import os
from typing import Final

from controlplane.arc.kernel.cgroups import must_read_file, must_write_file
from controlplane.link.amounts import BEST_EFFORT, IDLE

REALTIME: Final = 1 << 13
CLASS_BITS: Final = 3 << 13
NAMES: Final = {
    0: "none",
    IDLE: "idle",
    **{REALTIME | level: f"realtime {level}" for level in range(8)},
    **{BEST_EFFORT | level: f"best-effort {level}" for level in range(8)},
}
NUMBERS: Final = {name: number for number, name in NAMES.items()}
PASSES: Final = 8
"""Over the threads, as one that was not reached yet may start another meanwhile."""
_IOPRIO_SET, _IOPRIO_GET = {"x86_64": (251, 252), "aarch64": (30, 31)}[os.uname().machine]
"""libc has no functions for them."""
_THREADS: Final = 17
"""Field 20 of /proc/pid/stat, counted from the one after the command name."""
_WHO_PROCESS: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def must_get(directory: int, what: str) -> str:
    """`nice`, `ionice` or `oom_score_adj` of the process; raises OSError."""
    if what == "oom_score_adj":
        return must_read_file(directory, what)
    return must_get_of_thread(must_look(directory)[0], what)


def must_look(directory: int) -> tuple[int, int]:
    """Number of the process, and of its threads; raises OSError when it is gone."""
    stat = must_read_file(directory, "stat")
    rest = stat[stat.rindex(")") + 2 :].split(" ", _THREADS + 1)
    return int(stat[: stat.index(" ")]), int(rest[_THREADS])


def must_set(directory: int, what: str, value: str) -> None:
    """Set it, of all threads that share the first one's value; raises OSError."""
    if what == "oom_score_adj":
        must_write_file(directory, what, value.encode())
        return
    pid, threads = must_look(directory)
    before = must_get_of_thread(pid, what)
    if before == value or (threads == 1 and _must_set_the_only(directory, pid, what, before, value)):
        return
    for _ in range(PASSES):
        if not _must_set_threads(directory, what, before, value):
            return


def _must_set_the_only(directory: int, pid: int, what: str, before: str, value: str) -> bool:
    """Whether it still is: most processes have one thread, and to list it costs more than all the rest."""
    _must_set_of_thread(pid, what, value)
    try:
        return must_look(directory)[1] == 1
    except OSError:
        _must_give_back(pid, what, before, value)
        raise


def _must_set_threads(directory: int, what: str, before: str, value: str) -> bool:
    """Whether there were any to set."""
    found = False
    task = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for name in os.listdir(task):
            with contextlib.suppress(ProcessLookupError):
                found |= must_set_thread(task, name, what, before, value)
    finally:
        os.close(task)
    return found


def must_set_thread(task: int, name: str, what: str, before: str, value: str) -> bool:
    """Whether the thread of that number had the value from before, and has the new one; raises OSError.

    `task` is the folder of its process. Who has the number of one that ended meanwhile gets back its own.
    """
    tid = int(name)
    if must_get_of_thread(tid, what) != before:
        return False
    _must_set_of_thread(tid, what, value)
    if os.access(name, os.F_OK, dir_fd=task):
        return True
    _must_give_back(tid, what, before, value)
    return False


def _must_give_back(tid: int, what: str, before: str, value: str) -> None:
    """Somebody else may have the number now, and what was meant for another."""
    with contextlib.suppress(ProcessLookupError):
        if must_get_of_thread(tid, what) == value:
            _must_set_of_thread(tid, what, before)


def must_get_of_thread(tid: int, what: str) -> str:
    """`nice` or `ionice` of one thread; raises OSError."""
    if what == "nice":
        return (b"%d" % os.getpriority(os.PRIO_PROCESS, tid)).decode()
    number = _must_call(_IOPRIO_GET, _WHO_PROCESS, tid, 0)
    # Where none was set, the level differs from kernel to kernel; of the idle class it means nothing.
    return NAMES[number & CLASS_BITS if number & CLASS_BITS in (0, IDLE) else number & (CLASS_BITS | 7)]


def _must_set_of_thread(tid: int, what: str, value: str) -> None:
    if what == "nice":
        os.setpriority(os.PRIO_PROCESS, tid, int(value))
    else:
        _must_call(_IOPRIO_SET, _WHO_PROCESS, tid, NUMBERS[value])


def _must_call(number: int, who: int, tid: int, value: int) -> int:
    done: int = _syscall(number, who, tid, value)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done
