"""Runs one program for a policy: as somebody without privileges, for a bounded time, and nothing survives it.

Its standard input is one JSON object; its standard output is thrown away, the beginning of its standard error
is told. This process stays beside it, as the parent of everything that it leaves behind.
"""

import contextlib
import os
import pwd
import resource
import select
import signal
import time
from typing import Final, Never

import msgspec

from controlplane.errand import alarm
from controlplane.errand.alarm import LateError
from controlplane.link.account import Account
from controlplane.link.capabilities import Capability, keep_only
from controlplane.link.credentials import (
    PrivilegesError,
    become,
    die_with_parent,
    no_new_privileges,
    take_orphans,
)
from controlplane.link.errands import MAX_DETAIL, About, Report, Run

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEEDED: Final = frozenset({Capability.SETUID, Capability.SETGID, Capability.SETPCAP, Capability.KILL})
"""To become another account, and to kill what was started as that."""
CANNOT_RUN: Final = 127
"""As shells have it."""
NS_PER_MS: Final = 1_000_000
CHUNK: Final = 4096


def run(errand: Run) -> Report:
    """Run it to its end, or to the end of its time; whatever it has started is killed then."""
    try:
        owner = account_of(errand.user)
    except KeyError:
        return Report(error=f"there is no account {errand.user!r}")
    if owner is not None:
        keep_only(NEEDED)
    take_orphans()
    began_ns = time.monotonic_ns()
    errors = Errors()
    leader = os.fork()
    if leader == 0:
        begin(errand, owner, errors.write_end)
    try:
        error = errors.await_end(leader)
    except LateError:
        error = "out of time"
    finally:
        alarm.disarm()
        kill_all(leader)
    took_ms = (time.monotonic_ns() - began_ns) // NS_PER_MS
    said = f": {errors.text()}" if errors.text() else ""
    return Report(error=error, detail=f"{errand.purpose}: {error or 'exit 0'} after {took_ms} ms{said}")


def account_of(user: str) -> Account | None:
    """None: root stays root. Raises KeyError where there is no such account."""
    entry = pwd.getpwnam(user)
    return Account(entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def told(errand: Run) -> bytes:
    """What the program reads: one JSON object. Identities are hexadecimal."""
    about = errand.about
    whole = {
        "purpose": errand.purpose,
        "trace_id": about.trace_id,
        "policy": about.policy,
        "step": about.step,
        "victim": {
            "cgroup": about.cgroup,
            "path": about.path,
            "pid": about.pid,
            "start_ns": about.start_ns,
            "comm": about.comm,
        },
        "finding": _finding(about),
    }
    return msgspec.json.encode(whole) + b"\n"


def _finding(about: About) -> dict[str, object] | None:
    if about.finding is None:
        return None
    fields = ((name, getattr(about.finding, name)) for name in about.finding.__struct_fields__)
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields}


class Errors:
    """Standard error of the program: its beginning is kept, the rest is read and forgotten."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._kept = b""

    def await_end(self, pid: int) -> str:
        """How the program has ended, empty when well. It is not reaped, so its group keeps its number."""
        os.close(self.write_end)
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        for fd in (pidfd, self._read_end):
            poll.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._read_end in ready:
                if not self._take():
                    poll.unregister(self._read_end)
            elif pidfd in ready:
                return how_it_ended(pidfd)

    def _take(self) -> bool:
        chunk = os.read(self._read_end, CHUNK)
        self._kept = (self._kept + chunk)[:MAX_DETAIL]
        return bool(chunk)

    def text(self) -> str:
        """On one line, of printable characters."""
        words = self._kept.decode(errors="replace").split()
        return "".join(each if each.isprintable() else "?" for each in " ".join(words))


def how_it_ended(pidfd: int) -> str:
    """Empty when well; the process stays a zombie."""
    ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert ended is not None, "without WNOHANG it waits"
    if ended.si_code != os.CLD_EXITED:
        return f"signal {ended.si_status}"
    return f"exit {ended.si_status}" if ended.si_status else ""


def begin(errand: Run, owner: Account | None, errors: int) -> Never:
    """The forked child: nothing of the arc's is left to it when the program begins."""
    try:
        os.setsid()
        _redirect(told(errand), errors)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(0o077)
        os.chdir("/")
        no_new_privileges()
        if owner is not None:
            become(owner)
        die_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os.execve(errand.command[0], errand.command, environment(errand.about))
    except (OSError, PrivilegesError) as failure:
        os.write(2, f"{errand.command[0]}: {failure}".encode())
    finally:
        os._exit(CANNOT_RUN)


def environment(about: About) -> dict[str, str]:
    """All that is set: where programs are, and the trace to carry on (W3C Trace Context, 3.2)."""
    return {"PATH": PATH, "TRACEPARENT": f"00-{about.trace_id}-{about.span_id}-01"}


def _redirect(text: bytes, errors: int) -> None:
    """Standard input from memory, so that nobody has to feed it; all other descriptors are closed."""
    fd = os.memfd_create("finding")
    os.write(fd, text)
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors, 2)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def kill_all(leader: int) -> None:
    """The program's group, then whoever left it: an orphan comes to this process, and is killed in turn."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    while children := children_of(os.getpid()):
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def children_of(parent: int) -> list[int]:
    """Those of this moment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                    found.append(int(name))
    return found
