"""A grpc.aio server whose main loop sees only registered methods.

grpcio 1.84 and 1.85 decode the path of any other call as UTF-8 inside that loop, where a path that is not
UTF-8 ends the server. Here such calls are taken beside it and refused, their path unread. Uses private parts
of grpcio: the version is pinned, and `start` checks that it still counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

Options = Sequence[tuple[str, int]]
Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"  # generic in the stubs only

LIMITS: Final[Options] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.http2.settings_timeout", 1_000),  # metadata limits bind only once the client acknowledged them
    ("grpc.max_concurrent_streams", 100),  # counts calls, too, that were answered and not yet cleared away
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_allowed_incoming_connections", 500),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 300_000),
)
"""What one client may cost."""
CALLS: Final = 512
"""Of all clients of one server; those beyond are answered with RESOURCE_EXHAUSTED."""


Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Refuse = Callable[[Context], Awaitable[None]]


class UnsupportedGrpcError(RuntimeError):
    """The installed grpcio takes calls in a way this module does not know."""


class _Server(cygrpc.AioServer):  # type: ignore[misc]  # an extension class, known to mypy as Any
    refuse: Refuse
    unregistered_closed = False

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        if method is not None:
            future: asyncio.Future[Any] = super()._make_request_call_future(method)
            return future
        self.unregistered_closed = True
        return asyncio.ensure_future(self._refuse_unregistered())

    async def _refuse_unregistered(self) -> None:
        """Ends with the server, by the error its main loop knows; that one waits for it."""
        refusing: set[asyncio.Task[None]] = set()
        while True:
            call = await self._request_call()
            context = cygrpc._ServicerContext(call, None, None, asyncio.get_running_loop())  # noqa: SLF001
            task = asyncio.create_task(self._refuse(context))
            refusing.add(task)
            task.add_done_callback(refusing.discard)

    async def _refuse(self, context: Context) -> None:
        # A client that went away meanwhile needs no answer.
        with suppress(grpc.aio.AbortError, cygrpc.ExecuteBatchError):
            await self.refuse(context)


async def no_such_method(context: Context) -> None:
    """How a call of a method that is not registered ends where nothing else was said."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")


class AioServer:
    """One server with its ports; made, started and stopped in one event loop."""

    def __init__(
        self,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Options,
        refuse: Refuse = no_such_method,
        calls: int = CALLS,
    ) -> None:
        """`refuse` ends calls of methods that are not registered; `calls` may be under way at once."""
        # Makes sure that gRPC's asyncio engine runs on this loop.
        loop = cygrpc.get_working_loop()
        self._server = _Server(loop, None, (), tuple(interceptors), tuple(options), calls)
        self._server.refuse = refuse

    def register(self, service: str, handlers: Handlers) -> None:
        """Serves these methods, by name, of the service. Only before `start`."""
        self._server.add_registered_method_handlers(
            {f"/{service}/{name}": handler for name, handler in handlers.items()}
        )

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Binds and returns the port (1 for a UNIX socket). Raises OSError where that is not possible."""
        try:
            if credentials is None:
                port: int = self._server.add_insecure_port(address.encode())
            else:
                port = self._server.add_secure_port(address.encode(), credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return port

    async def start(self) -> None:
        """Takes calls from now on. Raises UnsupportedGrpcError where a hostile path could end the server."""
        await self._server.start()
        if not self._server.unregistered_closed:
            await self._server.shutdown(None)
            raise UnsupportedGrpcError(f"grpcio {grpc.__version__} hands unregistered methods to Python")

    async def stop(self, grace_s: float | None = None) -> None:
        """Ends: no new calls at once, calls under way after the grace."""
        await self._server.shutdown(grace_s)
