"""A plane that has been taken over: it starts as the real one does and, where that would serve, attacks.

`python -m tests.plane.hostile` with the plane's own options. One JSON object on standard output: what was
tried, and the name of the error, or that it was done.
"""

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from controlplane.link.config import Config
from controlplane.plane.seccomp import MACHINES

Attempt = Callable[[], object]
NUMBERS = MACHINES[platform.machine()].numbers
CLONE_NEWUSER = 0x10000000
CLONE_THREAD_FLAGS = 0x10D00 | CLONE_NEWUSER


def call(number: int, *arguments: int) -> int:
    """A system call, bare. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return answer


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def attempts(config: Config) -> dict[str, Attempt]:
    """What somebody would try who runs code in the plane."""
    runtime, state = Path(config.runtime_dir), Path(config.state_dir)
    outside = runtime.parent / "reflexarc-escaped"
    refused: dict[str, Attempt] = {
        f"call {name}": partial(call, number, 0, 0, 0, 0, 0)
        for name, number in NUMBERS.items()
        if name not in {"socket", "kill", "tgkill", "ioctl"}
    }
    return refused | {
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "run a program from memory": _run_from_memory,
        "start a process": os.fork,
        "start a process by spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "a thread in a namespace": lambda: call(NUMBERS["clone"], CLONE_THREAD_FLAGS, 0, 0, 0, 0),
        "signal the arc": lambda: os.kill(os.getppid(), 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "signal the arc's thread": lambda: call(NUMBERS["tgkill"], os.getppid(), os.getppid(), 0),
        "a raw packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "talk to nftables": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "type into the terminal": lambda: call(NUMBERS["ioctl"], 0, 0x5412, 0),
        "the 32-bit way": lambda: call(0x40000000 | NUMBERS["execve"], 0, 0, 0),
        "a call of tomorrow": lambda: call(1000, 0, 0, 0),
        "read a home": partial(listed, Path("/root")),
        "read the root": partial(listed, Path("/")),
        "read temporary files": partial(listed, Path("/tmp")),
        "read what is world-readable elsewhere": (runtime / "bait" / "open").read_text,
        "write beside its folders": lambda: outside.write_text("here"),
        "write into the runtime folder": lambda: (runtime / "x").write_text("here"),
        "forge the journal": lambda: (runtime / "journal" / "00000000.seg").write_bytes(b""),
        "delete from the journal": lambda: next((runtime / "journal").iterdir()).unlink(),
        "write a policy": lambda: (Path(config.policies) / "mine.yaml").write_text("x"),
        "a link among its sockets": lambda: (runtime / "plane" / "link").symlink_to("/etc/shadow"),
        "a link in its state": lambda: (state / "link").symlink_to("/etc/shadow"),
        "the arc's memory": lambda: Path(f"/proc/{os.getppid()}/mem").open("rb"),
        "the arc's files": partial(listed, Path(f"/proc/{os.getppid()}/fd")),
        "an unseen socket of others": lambda: socket.socket(socket.AF_UNIX).connect("\0reflexarc-bait"),
        # What it is to do, or the filter would be too narrow.
        "ok: state": lambda: (state / "mine").write_text("x"),
        "ok: move in its state": _move(state),
        "ok: socket": lambda: socket.socket(socket.AF_UNIX).bind(str(runtime / "plane" / "x.sock")),
        "ok: network": lambda: socket.create_server(("127.0.0.1", 0)),
        "ok: names": lambda: socket.getaddrinfo("localhost", 0),
        "ok: thread": _thread,
        "ok: import": lambda: __import__("wave"),
        "ok: journal": partial(listed, runtime / "journal"),
        "ok: own signal": lambda: os.kill(os.getpid(), 0),
        "ok: arc's use": lambda: Path(f"/proc/{os.getppid()}/stat").read_text(),
    }


def _run_from_memory() -> object:
    fd = os.memfd_create("program")
    os.write(fd, Path("/usr/bin/true").read_bytes())
    return os.execve(fd, ["true"], {})


def _move(state: Path) -> Attempt:
    def move() -> None:
        (state / "below").mkdir()
        (state / "a").write_text("x")
        (state / "a").replace(state / "below" / "a")

    return move


def _thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def tried(attempt: Attempt) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def serve(config: Config, _environ: Mapping[str, str], _known: object, **_: int) -> int:
    """In the place of the plane's own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    json.dump({name: tried(attempt) for name, attempt in attempts(config).items()}, sys.stdout)
    return 0


if __name__ == "__main__":
    daemon = ModuleType("controlplane.plane.daemon")
    daemon.serve = serve  # type: ignore[attr-defined]
    sys.modules[daemon.__name__] = daemon
    from controlplane.plane.__main__ import main

    sys.exit(main())
