"""A plane for tests: a real link to a responder, a real story, and the API on a real UNIX socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from controlplane.client import Target
from controlplane.link import records
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.health import Health
from controlplane.plane.api.management import Management
from controlplane.plane.api.server import Served as Doors
from controlplane.plane.api.server import serve_health, serve_socket
from controlplane.plane.arc import Arc
from controlplane.plane.story import Story, Watcher
from controlplane.wire.methods import Role
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.responder import Responder


class AnnouncingStory(Story):
    """A story that says when somebody watches, which else nobody is told."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed = asyncio.Event()

    @contextmanager
    def subscribe(self) -> Iterator[Watcher]:
        with super().subscribe() as watcher:
            self.subscribed.set()
            yield watcher


class Served(msgspec.Struct):
    """One plane that serves, and what a test needs of it."""

    loop: LoopThread
    arc: Arc
    story: AnnouncingStory
    responder: Responder
    health: Health
    target: Target
    health_address: str
    doors: Doors

    def feed(self, *told: records.Record, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        for number, record in enumerate(told):
            self.loop.call(self.story.feed, f"i-{number}", wall_ns + record.time_ns, record)

    def await_watcher(self) -> None:
        """Returns once somebody watches."""
        self.loop.run(asyncio.wait_for(self.story.subscribed.wait(), 10))


@contextmanager
def served(loop: LoopThread, folder: Path, role: Role = Role.ADMIN) -> Iterator[Served]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Served]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        responder, story, health = Responder(theirs), AnnouncingStory(), Health()
        path = folder / "management.sock"
        try:
            async with Arc(ours) as arc:
                doors = Doors(Management(arc, story), Audit(arc), story.end)
                async with (
                    serve_socket(path, role, doors),
                    serve_health("127.0.0.1:0", health, doors.audit) as port,
                ):
                    target, address = Target(socket=str(path)), f"127.0.0.1:{port}"
                    yield Served(loop, arc, story, responder, health, target, address, doors)
                doors.audit.close()
        finally:
            responder.close()

    with loop.entered(serve) as plane:
        yield plane
