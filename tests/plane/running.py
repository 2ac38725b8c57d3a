"""A real plane process, and the arc's ends of what it is given: link, doorbell, journal."""

import asyncio
import grp
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.arc.reflex.journal import Journal as Writer
from controlplane.link.account import account
from controlplane.link.config import Config, Export
from controlplane.link.frames import Noticed, SegmentMoved
from controlplane.link.records import Call, Record
from tests.plane.writer import append
from tests.unit.plane.responder import Responder


class Ear(Responder):
    """An arc whose commands can be waited for."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.heard = asyncio.Event()

    def close(self) -> None:
        """Hangs up; again is fine."""
        if self._sock.fileno() >= 0:
            super().close()

    def _read(self) -> None:
        try:
            alive = self._sock.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            alive = b""
        if alive:
            super()._read()
            self.heard.set()
        else:
            self.close()


GROUP = "daemon"
"""May use the socket for viewers; every Linux has it, with nobody in it."""


@contextmanager
def node(*, size: int = 64 * 1024, keep: int = 16) -> Iterator["Node"]:
    """The directories of one daemon, where an account without privileges can reach them."""
    root = Path(tempfile.mkdtemp(prefix="reflexarc-test-"))
    root.chmod(0o755)
    owner = account("")
    try:
        for name in ("journal", "plane", "tls"):
            (root / name).mkdir(mode=0o750)
            if os.geteuid() == 0:
                os.chown(root / name, 0 if name == "journal" else owner.uid, owner.gid)
        (root / "plane").chmod(0o700)
        (root / "viewer").mkdir()
        os.chown(root / "viewer", owner.uid if os.geteuid() == 0 else -1, grp.getgrnam(GROUP).gr_gid)
        (root / "viewer").chmod(0o2710)
        directory = os.open(root / "journal", os.O_RDONLY | os.O_DIRECTORY)
        writer = Writer(directory, size, keep, owner.gid if os.geteuid() == 0 else os.getgid(), tuple)
        try:
            yield Node(root, writer)
        finally:
            writer.close()
            os.close(directory)
    finally:
        rmtree(root)


@dataclass
class Node:
    """Where a daemon lives. The journal's writer outlives any plane."""

    root: Path
    writer: Writer
    written: int = 0
    within: Callable[[list[str]], list[str]] = list
    """Changes the command by which a plane is started."""

    def __post_init__(self) -> None:
        self.doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def config(self, endpoint: str = "", *, export: Export = Export(), **settings: object) -> Config:  # noqa: B008 -- frozen
        base = Config(
            runtime_dir=str(self.root),
            state_dir=str(self.state),
            metrics="127.0.0.1:0",
            health="127.0.0.1:0",
            export=msgspec.structs.replace(export, endpoint=endpoint, timeout_ms=export.timeout_ms or 2000),
        )
        return msgspec.structs.replace(base, **settings)

    def write(self, *records: Record) -> None:
        """As the arc does after a batch: append, then ring."""
        append(self.writer, *records)
        self.written += len(records)
        os.eventfd_write(self.doorbell, 1)


@dataclass
class Running:
    """One plane process."""

    process: asyncio.subprocess.Process
    responder: Ear
    stderr: "asyncio.Task[str]"
    ports: dict[str, int]

    async def ended(self, seconds: float = 10) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def moved(self) -> int:
        """Waits for a segment that is given back."""
        async with asyncio.timeout(10):
            while True:
                for command in self.responder.commands:
                    if isinstance(command, SegmentMoved):
                        return command.segment
                self.responder.heard.clear()
                await self.responder.heard.wait()

    async def journalled(self, wanted: Callable[[Call], bool]) -> Call:
        """Waits for a call that the arc was to journal."""
        async with asyncio.timeout(10):
            while True:
                for call in self.responder.calls:
                    if wanted(call):
                        return call
                self.responder.heard.clear()
                await self.responder.heard.wait()

    async def noticed(self, name: str, number: int = 1) -> Noticed:
        """Waits for the so-many-th notice of that name."""
        async with asyncio.timeout(10):
            while True:
                found = [notice for notice in self.responder.notices if notice.name == name]
                if len(found) >= number:
                    return found[number - 1]
                self.responder.heard.clear()
                await self.responder.heard.wait()

    async def serving(self, component: str, *, serving: bool) -> None:
        """Waits until the health of a component is that."""
        wanted = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        address = f"127.0.0.1:{self.ports['health']}"
        async with asyncio.timeout(20), grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            async for response in stub.Watch(health_pb2.HealthCheckRequest(service=component)):
                if response.status == wanted:
                    return

    async def metrics(self) -> dict[str, float]:
        """Samples by name and labels, as they are scraped."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["metrics"])
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        lines = (await reader.read()).decode().partition("\r\n\r\n")[2].splitlines()
        writer.close()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def status(self) -> dict[str, str]:
        """/proc/<pid>/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@asynccontextmanager
async def plane(where: Node, config: Config, **environment: str) -> AsyncIterator[Running]:
    """Started as the arc starts it; killed at the end if it still runs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("config")
    os.write(memory, msgspec.msgpack.encode(config))
    responder = Ear(ours)
    descriptors = (theirs.fileno(), where.doorbell, memory)
    names = ("--link-fd", "--doorbell-fd", "--config-fd")
    arguments = [text for pair in zip(names, map(str, descriptors), strict=True) for text in pair]
    process = await asyncio.create_subprocess_exec(
        *where.within([sys.executable, "-m", "controlplane.plane", *arguments]),
        pass_fds=descriptors,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    theirs.close()
    os.close(memory)
    running = None
    try:
        ports = await _ports(process, 3 if config.management.address else 2)
        stderr = asyncio.create_task(_rest(process))
        running = Running(process, responder, stderr, ports)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if running is not None:
            await running.stderr
        responder.close()


async def _ports(process: asyncio.subprocess.Process, wanted: int) -> dict[str, int]:
    """Read from the log: `health on port N`, `metrics on port N`, `management on port N`."""
    assert process.stderr is not None
    ports: dict[str, int] = {}
    said = b""
    while len(ports) < wanted:
        line = await process.stderr.readline()
        said += line
        words = line.decode().split()
        if words[-3:-1] == ["on", "port"]:
            ports[words[-4]] = int(words[-1])
        elif not line:
            raise AssertionError(f"the plane ended: {said.decode()}")
    return ports


async def _rest(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()


def free_port() -> int:
    """A port nobody has now, for a program that cannot be told to take any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
