"""Who tries to get in without being allowed: refused with the right code, journalled, nothing else changed.

Each attempt as one call and as a stream. What concerns UNIX sockets is in test_sockets.
"""

import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import NamedTuple

import grpc
import pytest
from grpc.experimental import session_cache

from controlplane.plane.api.aio_server import LIMITS, AioServer
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.certified import by_certificate
from controlplane.plane.api.front_door import FrontDoor
from controlplane.plane.api.server import roles
from controlplane.plane.api.tls import Credentials, Files
from controlplane.plane.arc import Arc
from controlplane.wire.methods import Role
from tests.authority import DOMAIN, HOST, HOUR, Authority
from tests.plane.world import LOOKS, PREFIX, UNDO, Kind, World, outcome, over_tls, says, unchanged
from tests.unit.plane.responder import Responder


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
        return outcome(channel, *LOOKS[kind], world.tell)


def on_the_health_port(world: World, kind: Kind) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{world.running.ports['health']}") as channel:
        return outcome(channel, *LOOKS[kind], world.tell)


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
        assert outcome(channel, *LOOKS[kind], world.tell) == "OK"
    Event().wait((ends - datetime.now(UTC)).total_seconds() + 1.1)
    with grpc.secure_channel(world.address, credentials, options) as channel:
        return outcome(channel, *LOOKS[kind], world.tell)


class Attempt(NamedTuple):
    """What is tried, what the client sees, and what the journal has to say of it."""

    run: Callable[[World, Kind], str]
    sees: str
    journalled: str
    """Found in `identity method code detail` of a refused call."""


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


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_refused(world: World, name: str, kind: Kind) -> None:
    attempt = ATTEMPTS[name]
    world.loop.call(world.running.responder.calls.clear)
    with unchanged(world):
        assert attempt.run(world, kind) == attempt.sees
        call = world.loop.run(world.running.journalled(partial(says, attempt.journalled)))
    assert attempt.sees in ("refused", "UNAVAILABLE") or call.origin.startswith("ipv4:127.0.0.1")


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_method_without_an_option(world: World, kind: Kind) -> None:
    """None of ours lacks one, which another test shows: so it is registered here, behind the same door."""
    folder = world.node.root / "tls"
    files = Files(*(str(folder / name) for name in ("tls.crt", "tls.key", "ca.crt")))
    method = f"/t.T/{kind}"

    async def never(_request: bytes, _context: object) -> bytes:
        raise AssertionError("it was called")

    @asynccontextmanager
    async def serve() -> AsyncIterator[tuple[int, Responder]]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        responder = Responder(theirs)
        async with Arc(ours) as arc:
            credentials = Credentials(files)
            identify = by_certificate({f"spiffe://{DOMAIN}/admin": Role.ADMIN}, credentials.revoked)
            server = AioServer([FrontDoor(roles(), identify, Audit(arc))], LIMITS)
            server.register("t.T", {kind: grpc.unary_unary_rpc_method_handler(never)})
            port = server.listen("127.0.0.1:0", credentials.for_grpc())
            await server.start()
            yield port, responder
            await server.stop()
            responder.close()

    given = grpc.ssl_channel_credentials(world.ca(), world.admin.key, world.admin.certificate)
    with (
        world.loop.entered(serve) as (port, responder),
        grpc.secure_channel(f"127.0.0.1:{port}", given) as channel,
    ):
        assert outcome(channel, method, b"", world.tell) == "PERMISSION_DENIED"
    (call,) = responder.calls
    assert says(f"/admin {method} PERMISSION_DENIED nobody may call this method", call)
    assert responder.commands == []
