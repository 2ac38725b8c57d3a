"""How sensors get into the kernel: CO-RE objects through libbpf, here; anything else by way of a compiler.

The compiler is a child that hands over descriptors and ends, so LLVM is never in the arc's memory and
what it attached stays for as long as the arc holds it.
"""

import errno
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, Self

import msgspec

from controlplane.arc.children import ends_within, spawn
from controlplane.arc.kernel.instructions import has_fetch
from controlplane.arc.kernel.libbpf import (
    LOG,
    Object,
    Program,
    attach_raw_tracepoint,
    offers_map_type,
    ring_buffer_error,
    run_time,
)
from controlplane.arc.kernel.reasons import shortened
from controlplane.link.compiling import (
    ANSWERS,
    MAX_DESCRIPTORS,
    MAX_LOG,
    MAX_MESSAGE,
    Answer,
    Request,
    Source,
)

Loader = Literal["core", "bcc"]

OBJECTS: Final = Path(__file__).parent / "objects"
SOURCES: Final = OBJECTS / "source"
"""The dialect and the sensors' sources, for compilers at run time."""
BTF: Final = Path("/sys/kernel/btf/vmlinux")
SHARED: Final = (
    "events",
    "gates",
    "counts",
    "values",
    "odds",
    "bets",
    "free_slots",
    "watched",
    "protected_names",
)
"""Maps that all sensors have in common."""
REFLEXES: Final = (
    "placed",
    "scopes",
    "standings",
    "breakers",
    "denials",
    "own_processes",
    "protected_processes",
)
"""... and those by which the kernel carries out policies by itself, which bcc's have not."""
RINGBUF: Final = 27
END_SECONDS: Final = 2.0
"""For a compiler that has answered to clear up after itself."""
COMPILE_SECONDS: Final = 120.0
"""For one source; a third of a second here, a hundred times as much in an emulated machine."""


def has_ring_buffer() -> bool:
    """Whether this kernel has BPF_MAP_TYPE_RINGBUF (Linux 5.8)."""
    return offers_map_type(RINGBUF)


def object_of(name: str) -> str:
    """Path of a sensor's object, in the instructions that this kernel knows."""
    return str(OBJECTS / f"{name}{'' if has_fetch() else '.nofetch'}.bpf.o")


class Lack(NamedTuple):
    """Why CO-RE cannot be had, and what would mend it: bcc, unless there is a hint."""

    reason: str
    hint: str = ""


def core_lack() -> Lack | None:
    """What CO-RE lacks on this machine, in this process; None where nothing."""
    if not BTF.exists():
        return Lack(f"this kernel has no BTF ({BTF} is missing)")
    error = ring_buffer_error(RINGBUF)
    if error == errno.EINVAL:
        return Lack("this kernel has no BPF ring buffer (it is older than Linux 5.8)")
    if error:
        hint = "it takes CAP_BPF and CAP_PERFMON, in a container as well, or CAP_SYS_ADMIN"
        return Lack(f"the kernel refuses a BPF ring buffer: {os.strerror(error)}", hint)
    return None


def choose(wanted: Literal["auto", "core", "bcc"]) -> Loader:
    """`auto`: CO-RE where the kernel has what it takes."""
    if wanted != "auto":
        return wanted
    return "bcc" if core_lack() else "core"


class Attached(Protocol):
    """One program at its hook."""

    name: str

    def run_time(self) -> tuple[int, int]:
        """(nanoseconds, runs) so far; zeros unless kernel.bpf_stats_enabled."""


class Loaded(Protocol):
    """One sensor in the kernel."""

    @property
    def programs(self) -> Sequence[Attached]:
        """Its programs."""

    shares: Sequence[str]
    """Maps that it has in common with others."""

    def map_fd(self, name: str) -> int:
        """Descriptor of one of its maps; raises KeyError."""

    def rest(self, *, resting: bool) -> None:
        """Detach while nobody asks for what it feels, or attach again; raises LibbpfError."""

    def close(self) -> None:
        """Detach and unload."""


class CoreObject:
    """An object file loaded by libbpf, its programs attached. Raises LibbpfError, leaving nothing behind."""

    shares: Sequence[str] = (*SHARED, *REFLEXES)

    def __init__(self, path: str, shared: Mapping[str, int], ring_bytes: int) -> None:
        self._object = Object(path)
        self.programs: list[Program] = []
        try:
            for name, fd in shared.items():
                self._object.share(name, fd)
            if "events" not in shared:
                self._object.resize("events", ring_bytes)
            self._object.load()
            for program in self._object.programs():
                program.attach()
                self.programs.append(program)
        except OSError:
            self.close()
            raise
        LOG.clear()

    def map_fd(self, name: str) -> int:
        """See `Loaded`."""
        return self._object.map_fd(name)

    def rest(self, *, resting: bool) -> None:
        """See `Loaded`."""
        for program in self.programs:
            if resting:
                program.detach()
            else:
                program.attach()

    def close(self) -> None:
        """See `Loaded`."""
        for program in self.programs:
            program.detach()
        self.programs.clear()
        self._object.close()


class HeldProgram:
    """A program that another process loaded and attached; it stays until both descriptors are closed."""

    def __init__(self, name: str, program: int, link: int) -> None:
        self.name = name
        self._program = program
        self._link: int | None = link

    def attach(self) -> None:
        """Again, after `detach`; raises LibbpfError."""
        if self._link is None:
            self._link = attach_raw_tracepoint(self.name, self._program)

    def detach(self) -> None:
        """It stays loaded."""
        if self._link is not None:
            os.close(self._link)
            self._link = None

    def run_time(self) -> tuple[int, int]:
        """See `Attached`."""
        return run_time(self._program)

    def close(self) -> None:
        """Detach and unload."""
        self.detach()
        os.close(self._program)


class HeldDescriptors:
    """What bcc left of one sensor."""

    shares: Sequence[str] = SHARED

    def __init__(self, answer: Answer, fds: Sequence[int]) -> None:
        self._maps = dict(zip(answer.maps, fds, strict=False))
        rest = iter(fds[len(answer.maps) :])
        self.programs = [
            HeldProgram(name, program, link)
            for name, program, link in zip(answer.programs, rest, rest, strict=True)
        ]

    def map_fd(self, name: str) -> int:
        """See `Loaded`."""
        return self._maps[name]

    def rest(self, *, resting: bool) -> None:
        """See `Loaded`."""
        for program in self.programs:
            if resting:
                program.detach()
            else:
                program.attach()

    def close(self) -> None:
        """See `Loaded`."""
        for program in self.programs:
            program.close()
        self.programs.clear()
        for fd in self._maps.values():
            os.close(fd)
        self._maps.clear()


class Compiler:
    """A compiler at work: a child that is awaited while starting. A context manager."""

    def __init__(self) -> None:
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._wire.settimeout(COMPILE_SECONDS)
        self._log = os.memfd_create("compiler-log")
        with theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_MESSAGE)
            arguments = ("--socket-fd", "3", "--log-fd", "4")
            self._pid = spawn("controlplane.compiler", arguments, (theirs.fileno(), self._log))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()
        ended = os.pidfd_open(self._pid)
        if not ends_within(ended, END_SECONDS):
            os.kill(self._pid, signal.SIGKILL)
        os.close(ended)
        os.waitpid(self._pid, 0)
        os.close(self._log)

    def answers(self, request: Request, fds: Sequence[int]) -> Iterator[tuple[Answer, list[int]]]:
        """One for each source. The last has a reason where the compiler died over it, or took too long."""
        socket.send_fds(self._wire, [msgspec.msgpack.encode(request)], fds)
        for source in request.sources:
            try:
                message, fds, _, _ = socket.recv_fds(self._wire, MAX_MESSAGE, MAX_DESCRIPTORS)
            except TimeoutError:
                yield Answer(name=source.name, reason=f"not compiled within {COMPILE_SECONDS:.0f} s"), []
                return
            if not message:
                log = os.pread(self._log, MAX_LOG, 0).decode(errors="replace")
                reason = shortened(log) or "the compiler ended without a word"
                yield Answer(name=source.name, reason=reason, log=log), []
                return
            yield ANSWERS.decode(message), list(fds)


def compiled(
    request: Request, shared: Mapping[str, int], first: Compiler
) -> Iterator[tuple[Answer, list[int]]]:
    """An answer for every source, with a new compiler after each over which one died.

    `shared` may grow while this goes on. `first` is closed at the end.
    """
    left = list(request.sources)
    compiler = first
    while left:
        asked = msgspec.structs.replace(request, sources=tuple(left), shared=tuple(shared))
        with compiler:
            for answered in compiler.answers(asked, list(shared.values())):
                del left[0]
                yield answered
        if left:
            compiler = Compiler()


def sources_of(names: Sequence[str]) -> tuple[Source, ...]:
    """The sensors that come with the daemon, for bcc."""
    return tuple(Source(name=name, path=str(SOURCES / f"{name}.bpf.c")) for name in names)
