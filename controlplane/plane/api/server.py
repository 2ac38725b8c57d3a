"""The two servers of the API, as context managers: management on a UNIX socket, health on a port of its own.

They share an event loop and nothing else, so probes are answered while management is busy or being abused.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from controlplane.link.signals import BY_NAME, Known
from controlplane.plane.api import management
from controlplane.plane.api.aio_server import LIMITS, AioServer, Handlers
from controlplane.plane.api.front_door import FrontDoor, local_peer
from controlplane.plane.api.health import Health
from controlplane.plane.api.management import Management
from controlplane.plane.arc import Arc
from controlplane.plane.story import Story
from controlplane.wire.methods import MANAGEMENT, Role, methods

MAX_SOCKET_PATH: Final = 107
"""Bytes of a UNIX socket's path, from the kernel's sockaddr_un."""
GRACE_S: Final = 0.5
HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"
REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
"""The same bytes under a newer name, which newer clients try first."""
_HEALTH_LIMITS: Final = (
    *LIMITS,
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
)


@asynccontextmanager
async def serve_management(path: Path, arc: Arc, story: Story, known: Known = BY_NAME) -> AsyncIterator[None]:
    """Serves management on a UNIX socket of mode 0600 while the block lasts. Raises OSError."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OSError(f"the path of a socket has at most {MAX_SOCKET_PATH} bytes: {path}")
    server = AioServer([FrontDoor(roles(), local_peer)], LIMITS)
    server.register(MANAGEMENT.full_name, management.handlers(Management(arc, story, known)))
    for service in (REFLECTION, REFLECTION_V1):
        server.register(service, _reflection())
    before = os.umask(0o177)
    try:
        server.listen(f"unix:{path}", grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
    finally:
        os.umask(before)
    async with _running(server, story.end):
        yield


@asynccontextmanager
async def serve_health(address: str, health: Health) -> AsyncIterator[int]:
    """Serves health in plain text on `host:port` while the block lasts; gives the port. Raises OSError."""
    server = AioServer([], _HEALTH_LIMITS)
    server.register(HEALTH, _health(health))
    port = server.listen(address)
    async with _running(server, health.end):
        yield port


def roles() -> dict[str, Role]:
    """Least role by method path, of every method that has one."""
    ours = {method.path: method.role for method in methods(MANAGEMENT).values() if method.role is not None}
    names = (f"/{service}/ServerReflectionInfo" for service in (REFLECTION, REFLECTION_V1))
    return ours | dict.fromkeys(names, Role.VIEWER)


@asynccontextmanager
async def _running(server: AioServer, let_go: Callable[[], None]) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        let_go()
        await server.stop(GRACE_S)


def _reflection() -> Handlers:
    servicer = reflection.aio.ReflectionServicer((MANAGEMENT.full_name, REFLECTION))
    return {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
    }


def _health(health: Health) -> Handlers:
    check, listing = health_pb2.HealthCheckRequest, health_pb2.HealthListRequest
    response = health_pb2.HealthCheckResponse
    return {
        "Check": grpc.unary_unary_rpc_method_handler(
            health.Check, check.FromString, response.SerializeToString
        ),
        "List": grpc.unary_unary_rpc_method_handler(
            health.List, listing.FromString, health_pb2.HealthListResponse.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            health.Watch, check.FromString, response.SerializeToString
        ),
    }
