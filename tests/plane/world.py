"""One real plane with everything that listens, everybody's certificates, and ways to call."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import grpc

from controlplane.link import frames
from controlplane.link.config import Identity, Management
from controlplane.link.records import Call
from controlplane.wire import management_pb2 as pb
from tests.authority import DOMAIN, Authority, Shown, replace
from tests.plane.running import GROUP, Node, Running, node, plane
from tests.plane.writer import notice
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.responder import STATUS

Kind = Literal["unary", "stream"]
PREFIX = "/reflexarc.v1.Management"
LOOKS: dict[Kind, tuple[str, bytes]] = {
    "unary": (f"{PREFIX}/GetStatus", pb.GetStatusRequest().SerializeToString()),
    "stream": (f"{PREFIX}/Watch", pb.WatchRequest().SerializeToString()),
}
CHANGES = (frames.ApplyRule, frames.DeleteRule, frames.SetMode, frames.UndoActs)


class World(NamedTuple):
    """A plane, and everybody's certificates."""

    loop: LoopThread
    node: Node
    running: Running
    ours: Authority
    admin: Shown
    viewer: Shown
    revoked: Shown

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.running.ports['management']}"

    def tell(self) -> None:
        """Whoever watches is told something."""
        self.loop.call(self.node.write, notice(1))

    def ca(self) -> bytes:
        return self.ours.pem


UNDO = (f"{PREFIX}/Undo", pb.UndoRequest(all=True).SerializeToString())


@asynccontextmanager
async def serving(loop: LoopThread) -> AsyncIterator[World]:
    """The plane as a process, for as long as the block lasts."""
    ours = Authority()
    admin, viewer, revoked = (ours.issue(name) for name in ("admin", "viewer", "revoked"))
    with node() as where:
        folder = where.root / "tls"
        ours.issue("node", "server").write(folder / "tls")
        replace(folder / "ca.crt", ours.pem)
        replace(folder / "crl.pem", ours.revoking(revoked))
        async with plane(where, where.config(management=management(folder))) as running:
            yield World(loop, where, running, ours, admin, viewer, revoked)


def management(folder: Path) -> Management:
    return Management(
        address="127.0.0.1:0",
        cert=str(folder / "tls.crt"),
        key=str(folder / "tls.key"),
        client_ca=str(folder / "ca.crt"),
        crl=str(folder / "crl.pem"),
        viewer_group=GROUP,
        identities=(
            Identity(spiffe=f"spiffe://{DOMAIN}/admin", role="admin"),
            Identity(spiffe=f"spiffe://{DOMAIN}/revoked", role="admin"),
            Identity(spiffe=f"spiffe://{DOMAIN}/viewer", role="viewer"),
            Identity(spiffe=f"spiffe://{DOMAIN}/late", role="admin"),
            Identity(subject="CN=node", role="admin"),
        ),
    )


def outcome(channel: grpc.Channel, method: str, body: bytes, tell: Callable[[], None]) -> str:
    """The status a call ends with, or that a watcher is told something. All kinds look alike on the wire."""
    call = channel.unary_stream(method, bytes, bytes)(body, timeout=10)
    try:
        call.initial_metadata()
        if method.endswith("/Watch"):
            tell()
            next(call)
            call.cancel()
        else:
            list(call)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def over_tls(world: World, shown: Shown | None, kind: Kind, called: tuple[str, bytes] | None = None) -> str:
    given = (shown.key, shown.certificate) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(world.ca(), *given)
    with grpc.secure_channel(world.address, credentials) as channel:
        return outcome(channel, *(called or LOOKS[kind]), world.tell)


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    """The arc is asked to change nothing, and whoever may look sees the same as before."""
    heard = len(world.running.responder.commands)
    assert world.running.responder.status == STATUS
    yield
    since = world.running.responder.commands[heard:]
    assert not [command for command in since if isinstance(command, CHANGES)]
    assert world.running.responder.status == STATUS
    assert over_tls(world, world.admin, "unary") == "OK"


def says(wanted: str, call: Call) -> bool:
    text = f"{call.identity} {call.method} {call.code} {call.detail}"
    return call.outcome == "refused" and re.search(wanted, text) is not None
