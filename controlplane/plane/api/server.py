"""The servers of the API, as context managers: management by one door a role or over TLS, health on a port.

They share an event loop and nothing else, so probes are answered while management is busy or being abused.
"""

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import msgspec
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from controlplane.link.records import Call
from controlplane.plane.api import in_time, management
from controlplane.plane.api.aio_server import (
    CALLS,
    LIMITS,
    AioServer,
    Context,
    Handlers,
    Options,
    no_such_method,
)
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.errors import ApiError
from controlplane.plane.api.front_door import FrontDoor
from controlplane.plane.api.health import MAX_WATCHERS, Health
from controlplane.plane.api.identities import Identify, by_socket
from controlplane.plane.api.management import Management
from controlplane.plane.api.summary import shortened
from controlplane.wire.methods import MANAGEMENT, Role, methods

MAX_SOCKET_PATH: Final = 107
"""Bytes of a UNIX socket's path, from the kernel's sockaddr_un."""
GRACE_S: Final = 0.5
AGE_GRACE_S: Final = 30
"""After the age of a connection, for calls under way."""
HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"
REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
"""The same bytes under a newer name, which newer clients try first."""


class Served(NamedTuple):
    """What every door of management leads to."""

    management: Management
    audit: Audit
    let_go: Callable[[], None]
    """Ends every watch, before a server stops."""


@asynccontextmanager
async def serve_socket(path: Path, role: Role, served: Served) -> AsyncIterator[None]:
    """Serves management on a UNIX socket while the block lasts: whoever may connect has the role.

    The socket is the owner's alone for admins, its group's as well for others. Raises OSError.
    """
    _prepare(path)
    server = management_server(served, by_socket(role), LIMITS)
    before = os.umask(0o177 if role is Role.ADMIN else 0o117)
    try:
        server.listen(f"unix:{path}", grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
    finally:
        os.umask(before)
    async with running(server, served.let_go):
        yield


@asynccontextmanager
async def serve_health(address: str, health: Health, audit: Audit) -> AsyncIterator[int]:
    """Serves health in plain text on `host:port` while the block lasts; gives the port. Raises OSError."""

    async def refuse(context: Context) -> None:
        call = Call(outcome="refused", origin=shortened(context.peer()), code="UNIMPLEMENTED")
        audit.refused(msgspec.structs.replace(call, detail="not a method of health"))
        await no_such_method(context)

    server = AioServer([], aging(3_600), refuse, MAX_WATCHERS + CALLS)
    server.register(HEALTH, _health(health))
    port = server.listen(address)
    async with running(server, health.end):
        yield port


def roles() -> dict[str, Role]:
    """Least role by method path, of every method that has one."""
    ours = {method.path: method.role for method in methods(MANAGEMENT).values() if method.role is not None}
    names = (f"/{service}/ServerReflectionInfo" for service in (REFLECTION, REFLECTION_V1))
    return ours | dict.fromkeys(names, Role.VIEWER)


def management_server(served: Served, identify: Identify, options: Options) -> AioServer:
    """A server whose every method is behind the front door; it listens nowhere yet."""
    door = FrontDoor(roles(), identify, served.audit)
    server = AioServer([door], options, door.refuse)
    server.register(MANAGEMENT.full_name, management.handlers(served.management))
    for service in (REFLECTION, REFLECTION_V1):
        server.register(service, _reflection())
    return server


def aging(age_s: int) -> Options:
    """Connections end after so many seconds."""
    return (
        *LIMITS,
        ("grpc.max_connection_age_ms", age_s * 1000),
        ("grpc.max_connection_age_grace_ms", AGE_GRACE_S * 1000),
    )


def _prepare(path: Path) -> None:
    """Nobody else may have a hand in the folder, and only a socket that we left there is removed."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OSError(f"the path of a socket has at most {MAX_SOCKET_PATH} bytes: {path}")
    folder = path.parent.lstat()
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.geteuid() or folder.st_mode & 0o022:
        raise OSError(f"{path.parent} is not a folder that only we can write to")
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{path} is there already, and no socket of ours")
    path.unlink()


@asynccontextmanager
async def running(server: AioServer, let_go: Callable[[], None]) -> AsyncIterator[None]:
    """Takes calls while the block lasts; `let_go` ends what would hold up the stop."""
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
    response = health_pb2.HealthCheckResponse.SerializeToString
    lists = health_pb2.HealthListResponse.SerializeToString
    single, streamed = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler

    async def watch(request: health_pb2.HealthCheckRequest, context: Context) -> None:
        await in_time.write(health.Watch(request, context), context)

    return {
        "Check": single(_in_time(health.Check), check.FromString, response),
        "List": single(_in_time(health.List), listing.FromString, lists),
        "Watch": streamed(_in_time(watch), check.FromString, response),
    }


def _in_time(respond: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Any]:
    """The method for clients whose request may never come, or be none."""

    async def serve(_: object, context: Context) -> Any:  # noqa: ANN401  # a message, or nothing
        try:
            return await respond(await in_time.request(context), context)
        except ApiError as error:
            await in_time.abort(context, error)

    return serve
