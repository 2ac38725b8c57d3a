"""`python -m controlplane.compiler --socket-fd 3 --log-fd 4`: compile what the arc asks for, answer, end.

Whatever a compiler prints goes into the log descriptor, where the arc finds it even if LLVM aborts.
"""

import ctypes
import os
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from controlplane.arc.kernel.loader import SHARED, SOURCES
from controlplane.arc.kernel.reasons import shortened
from controlplane.compiler import clang
from controlplane.compiler.asking import UnreadableHeadersError
from controlplane.compiler.bcc import Attached, Bcc, CompileError
from controlplane.compiler.headers import write_tree
from controlplane.compiler.layout import UnreadableTypeError
from controlplane.compiler.types import layout_here
from controlplane.link.capabilities import Capability, keep_only
from controlplane.link.compiling import (
    MAX_DESCRIPTORS,
    MAX_LOG,
    MAX_MESSAGE,
    REQUESTS,
    Answer,
    Request,
    Source,
)

PR_SET_PDEATHSIG: Final = 1
NEEDED: Final = frozenset(
    {
        Capability.BPF,
        Capability.PERFMON,
        Capability.SYS_ADMIN,
        Capability.SYS_RESOURCE,
        Capability.DAC_READ_SEARCH,
    }
)
"""SYS_ADMIN before Linux 5.8; SYS_RESOURCE for the memory that maps count as locked before 5.11."""


class Session:
    """One request, answered source by source."""

    def __init__(self, wire: socket.socket, log_fd: int, folder: Path) -> None:
        self._wire = wire
        self._log_fd = log_fd
        self._folder = folder
        self._bcc: Bcc | None = None
        message, fds, _, _ = socket.recv_fds(wire, MAX_MESSAGE, MAX_DESCRIPTORS)
        self._request: Request = REQUESTS.decode(message)
        self._shared = dict(zip(self._request.shared, fds, strict=True))

    def answer_all(self) -> None:
        """In the order of the request."""
        for source in self._request.sources:
            os.ftruncate(self._log_fd, 0)
            os.lseek(self._log_fd, 0, os.SEEK_SET)
            try:
                answer, fds = self._compile(source)
            except (CompileError, UnreadableTypeError, UnreadableHeadersError, OSError, ImportError) as error:
                log = f"{self._said()}{error}"
                answer = Answer(name=source.name, reason=shortened(log), log=log[-MAX_LOG:])
                fds = []
            socket.send_fds(self._wire, [msgspec.msgpack.encode(answer)], fds)

    def _said(self) -> str:
        return os.pread(self._log_fd, MAX_LOG, 0).decode(errors="replace")

    def _compile(self, source: Source) -> tuple[Answer, list[int]]:
        if source.compiler == "clang" and clang.is_present():
            fd = clang.compile_object(source, SOURCES, self._folder)
            return Answer(name=source.name, compiler="clang"), [fd]
        attached = self._with_bcc().attach(source, self._shared)
        answer = Answer(name=source.name, maps=tuple(attached.maps), programs=tuple(attached.programs))
        return answer, self._keep(attached)

    def _keep(self, attached: Attached) -> list[int]:
        """The maps that the next source shares; descriptors in the order of the answer."""
        for name in set(SHARED).intersection(attached.maps):
            self._shared.setdefault(name, attached.maps[name])
        return [*attached.maps.values(), *(fd for pair in attached.programs.values() for fd in pair)]

    def _with_bcc(self) -> Bcc:
        """Made when the first source needs it: clang's take none."""
        if self._bcc is None:
            layout = layout_here()
            tree = self._folder / "headers"
            write_tree(tree, SOURCES, layout, os.sysconf("SC_PAGESIZE"))
            flags = ["-DREFLEXARC_PERF"] if self._request.perf else []
            self._bcc = Bcc(tree, SOURCES, layout, f"-DRING_BYTES={self._request.ring_bytes}", *flags)
        return self._bcc


def main(arguments: list[str]) -> int:
    """Exit code 0 when everything asked for has been answered."""
    socket_fd, log_fd = (int(arguments[arguments.index(name) + 1]) for name in ("--socket-fd", "--log-fd"))
    keep_only(NEEDED)
    os.dup2(log_fd, 2)
    os.dup2(log_fd, 1)
    with tempfile.TemporaryDirectory(prefix="reflexarc-") as folder:
        worker = os.fork()
        if worker == 0:
            _work(socket_fd, log_fd, Path(folder))
        os.close(socket_fd)
        _, status = os.waitpid(worker, 0)
    return int(status != 0)


def _work(socket_fd: int, log_fd: int, folder: Path) -> NoReturn:
    """In a process of its own, so that the folder goes even if LLVM aborts."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    code = 1
    # Not closed before the end: that is when the arc looks into the log.
    wire = socket.socket(fileno=socket_fd)
    try:
        Session(wire, log_fd, folder).answer_all()
        code = 0
    except Exception:  # noqa: BLE001  the border of this process
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
