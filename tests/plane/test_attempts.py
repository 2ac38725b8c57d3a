"""Who tries to get in without being allowed: refused with the right code, journalled, nothing else changed.

One real plane with everything that listens; each attempt as one call and as a stream. What the kernel refuses
never reaches the plane, and is not journalled.
"""

import re
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple

import grpc
import pytest
from grpc.experimental import session_cache

from controlplane.link import frames
from controlplane.link.config import Identity, Management
from controlplane.link.records import Call
from controlplane.wire import management_pb2 as pb
from tests.authority import DOMAIN, HOST, HOUR, Authority, Shown, replace
from tests.plane.running import GROUP, Node, Running, node, plane
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

    def ca(self) -> bytes:
        return self.ours.pem


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def world(loop: LoopThread) -> Iterator[World]:
    ours = Authority()
    admin, viewer, revoked = (ours.issue(name) for name in ("admin", "viewer", "revoked"))
    server = ours.issue("node", "server")

    @asynccontextmanager
    async def serve() -> AsyncIterator[World]:
        with node() as where:
            folder = where.root / "tls"
            server.write(folder / "tls")
            replace(folder / "ca.crt", ours.pem)
            replace(folder / "crl.pem", ours.revoking(revoked))
            config = where.config(management=management(folder))
            async with plane(where, config) as running:
                yield World(loop, where, running, ours, admin, viewer, revoked)

    with loop.entered(serve) as world:
        yield world


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


def outcome(channel: grpc.Channel, method: str, body: bytes) -> str:
    """The status a call ends with, or that a watch is in place. All kinds look alike on the wire."""
    stub = channel.unary_stream(method, bytes, bytes)
    call: Any = stub(body, timeout=10)
    try:
        call.initial_metadata()
        if method.endswith("/Watch") and not call.done():
            call.cancel()
            return "OK"
        list(call)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def over_tls(world: World, shown: Shown | None, kind: Kind, called: tuple[str, bytes] | None = None) -> str:
    given = (shown.key, shown.certificate) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(world.ca(), *given)
    with grpc.secure_channel(world.address, credentials) as channel:
        return outcome(channel, *(called or LOOKS[kind]))


def raw_tls(world: World, version: ssl.TLSVersion) -> str:
    """A handshake of an old version, with a good certificate: what became of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(*world.admin.write(world.node.root / "tls" / "old"))
    host, port = world.address.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        try:
            with context.wrap_socket(connection) as spoken:
                return str(spoken.version())
        except (ssl.SSLError, ConnectionResetError):
            return "refused"


def plaintext(world: World, kind: Kind) -> str:
    with grpc.insecure_channel(world.address) as channel:
        return outcome(channel, *LOOKS[kind])


def on_the_health_port(world: World, kind: Kind) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{world.running.ports['health']}") as channel:
        return outcome(channel, *LOOKS[kind])


def resumed(world: World, kind: Kind) -> str:
    """A certificate that expires between a connection and the one that resumes its TLS session."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    late = world.ours.issue("late", since=ends - datetime.now(UTC) - HOUR)
    cache = session_cache.ssl_session_cache_lru(4)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_channel_credentials(world.ca(), late.key, late.certificate)
    # A session is kept by the name of its server, and there is none for an address.
    options = (
        *(("grpc.ssl_session_cache", cache), ("grpc.use_local_subchannel_pool", 1)),
        ("grpc.ssl_target_name_override", HOST),
    )
    with grpc.secure_channel(world.address, credentials, options) as channel:
        assert outcome(channel, *LOOKS[kind]) == "OK"
    Event().wait((ends - datetime.now(UTC)).total_seconds() + 1.1)
    with grpc.secure_channel(world.address, credentials, options) as channel:
        return outcome(channel, *LOOKS[kind])


class Attempt(NamedTuple):
    """What is tried, what the client sees, and what the journal has to say of it."""

    run: Callable[[World, Kind], str]
    sees: str
    journalled: str
    """Found in `identity method code detail` of a refused call."""


UNDO = (f"{PREFIX}/Undo", pb.UndoRequest(all=True).SerializeToString())
ATTEMPTS = {
    "no TLS": Attempt(plaintext, "UNAVAILABLE", "TLS handshake: wrong version number"),
    "TLS 1.0": Attempt(lambda w, _: raw_tls(w, ssl.TLSVersion.TLSv1), "refused", "unsupported protocol"),
    "TLS 1.1": Attempt(lambda w, _: raw_tls(w, ssl.TLSVersion.TLSv1_1), "refused", "unsupported protocol"),
    "TLS 1.2": Attempt(lambda w, _: raw_tls(w, ssl.TLSVersion.TLSv1_2), "refused", "no shared cipher"),
    "no certificate": Attempt(
        lambda w, kind: over_tls(w, None, kind), "UNAVAILABLE", "peer did not return a certificate"
    ),
    "other CA": Attempt(
        lambda w, kind: over_tls(w, Authority("other").issue("admin"), kind),
        "UNAVAILABLE",
        "certificate verify failed, unable to get local issuer",
    ),
    "expired": Attempt(
        lambda w, kind: over_tls(w, w.ours.issue("admin", since=-2 * HOUR), kind),
        "UNAVAILABLE",
        "certificate has expired",
    ),
    "expired, resumed": Attempt(resumed, "UNAUTHENTICATED", r"/late .* the certificate has expired"),
    "not yet valid": Attempt(
        lambda w, kind: over_tls(w, w.ours.issue("admin", since=HOUR), kind),
        "UNAVAILABLE",
        "certificate is not yet valid",
    ),
    "revoked": Attempt(
        lambda w, kind: over_tls(w, w.revoked, kind),
        "UNAUTHENTICATED",
        r"/revoked .* UNAUTHENTICATED the certificate is revoked",
    ),
    "wrong key usage": Attempt(
        lambda w, kind: over_tls(w, w.ours.issue("node", "server"), kind),
        "UNAVAILABLE",
        "certificate purpose",
    ),
    "not in the table": Attempt(
        lambda w, kind: over_tls(w, w.ours.issue("stranger"), kind),
        "PERMISSION_DENIED",
        r"/stranger .* PERMISSION_DENIED the daemon does not know you",
    ),
    "viewer calling operator's": Attempt(
        lambda w, kind: over_tls(w, w.viewer, kind, UNDO),
        "PERMISSION_DENIED",
        r"/viewer .*/Undo PERMISSION_DENIED this needs the role operator",
    ),
    "unknown method": Attempt(
        lambda w, kind: over_tls(w, w.admin, kind, (f"{PREFIX}/Nothing", b"")),
        "UNIMPLEMENTED",
        r"/admin  UNIMPLEMENTED there is no such method",
    ),
    "management on the health port": Attempt(
        on_the_health_port, "UNIMPLEMENTED", "UNIMPLEMENTED not a method of health"
    ),
}


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


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_refused(world: World, name: str, kind: Kind) -> None:
    attempt = ATTEMPTS[name]
    world.loop.call(world.running.responder.calls.clear)
    with unchanged(world):
        assert attempt.run(world, kind) == attempt.sees
        call = world.loop.run(world.running.journalled(partial(says, attempt.journalled)))
    assert attempt.sees in ("refused", "UNAVAILABLE") or call.origin.startswith("ipv4:127.0.0.1")
