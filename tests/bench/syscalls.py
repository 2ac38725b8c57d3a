"""Counts system calls of processes by thread and name, through a tracefs instance of its own.

Nothing is attached to the processes (no ptrace), so what is counted is what they would do anyway.
"""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

TRACEFS: Final = Path("/sys/kernel/tracing")
_LINE: Final = re.compile(r"^\s*(.+)-(\d+)\s+\[.*sys_enter: NR (-?\d+)")


class Call(NamedTuple):
    """One kind of system call of one thread."""

    pid: int
    thread: str
    name: str


def threads(pid: int) -> list[int]:
    """Ids of the threads a process has now."""
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def count(pids: Iterable[int], seconds: float) -> Counter[Call]:
    """What the processes do in that time; threads they start meanwhile are counted as well."""
    owner = {thread: pid for pid in pids for thread in threads(pid)}
    with _instance() as trace:
        (trace / "options/event-fork").write_text("1")
        (trace / "set_event_pid").write_text(" ".join(map(str, owner)))
        (trace / "events/raw_syscalls/sys_enter/enable").write_text("1")
        time.sleep(seconds)
        (trace / "events/raw_syscalls/sys_enter/enable").write_text("0")
        lines = (trace / "trace").read_text(errors="replace").splitlines()
    names = _names()
    calls: Counter[Call] = Counter()
    for thread, identity, number in (found.groups() for found in map(_LINE.match, lines) if found):
        name = names.get(int(number), number)
        calls[Call(owner.get(int(identity), 0), thread.strip(), name)] += 1
    return calls


@contextmanager
def _instance() -> Iterator[Path]:
    if not (TRACEFS / "instances").is_dir():
        subprocess.run(("mount", "-t", "tracefs", "none", TRACEFS), check=True)
    path = TRACEFS / "instances/reflexarc-bench"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def _names() -> dict[int, str]:
    """Of this machine, from its C headers."""
    source = "#include <asm/unistd.h>\n"
    macros = subprocess.run(
        ("gcc", "-E", "-dM", "-"), input=source, capture_output=True, text=True, check=True
    ).stdout
    found = re.finditer(r"^#define __NR_(\w+) (\d+)$", macros, re.MULTILINE)
    return {int(number): name for name, number in (match.groups() for match in found)}
