"""The front door: the one interceptor every management call goes through.

Knows who calls, what role that gives and what role the method needs; decides before the request is read. It
is also the border where exceptions become statuses. What a method does is none of its business.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, NamedTuple, Never

import grpc
from google.protobuf.message import DecodeError

from controlplane.plane.api.errors import ApiError, explained
from controlplane.wire.methods import Role

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any
"""A grpc.RpcMethodHandler whose methods are coroutines; the stubs describe only the blocking kind."""
Message = Any
REQUEST_ID = "request-id"

log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """Who calls, and what that one is trusted with."""

    identity: str
    role: Role


CALLER: ContextVar[Caller] = ContextVar("caller")
"""Who makes the call that the running handler serves."""


def local_peer(context: Context) -> Caller | None:
    """On the UNIX socket everybody is admin: the file system decided who may connect.

    Both signs are needed: TCP with local credentials says `local`, too, a socket without them `unix:`.
    """
    transport = b"".join(context.auth_context().get("transport_security_type", ()))
    if transport == b"local" and context.peer().startswith("unix"):
        return Caller("local", Role.ADMIN)
    return None


class FrontDoor(grpc.aio.ServerInterceptor):
    """Admits calls by role and answers for their errors."""

    def __init__(self, roles: Mapping[str, Role], identify: Callable[[Context], Caller | None]) -> None:
        """`roles`: least role by method path; a method that is not there is refused to everybody."""
        self._roles = roles
        self._identify = identify

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Replaces the method's handler by one that asks first."""
        path: str = handler_call_details.method
        handler = await continuation(handler_call_details)
        return self._guarded(handler, self._roles.get(path), path)

    def _guarded(self, handler: Handler | None, role: Role | None, path: str) -> Handler:
        async def serve(_: object, context: Context) -> None:
            request_id = secrets.token_hex(8)
            context.set_trailing_metadata(((REQUEST_ID, request_id),))
            try:
                CALLER.set(self._admit(role, context))
                assert handler is not None, "a method with a role has a handler"
                await _serve(handler, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  # the RPC border
                await _abort(context, error, request_id, path)

        # Always as a stream: gRPC parses the request of a unary call before it runs its handler.
        return grpc.stream_stream_rpc_method_handler(
            serve,
            handler.request_deserializer if handler else None,
            handler.response_serializer if handler else None,
        )

    def _admit(self, role: Role | None, context: Context) -> Caller:
        caller = self._identify(context)
        if caller is None:
            raise ApiError(grpc.StatusCode.UNAUTHENTICATED, "the daemon does not know you")
        if role is None:
            raise ApiError(grpc.StatusCode.PERMISSION_DENIED, "nobody may call this method")
        if caller.role < role:
            raise ApiError(grpc.StatusCode.PERMISSION_DENIED, f"this needs the role {role.name.lower()}")
        return caller


async def _serve(handler: Handler, context: Context) -> None:
    if handler.request_streaming:
        async with aclosing(handler.stream_stream(_requests(context), context)) as responses:
            async for response in responses:
                await context.write(response)
        return
    request = await _read(context)
    if request is grpc.aio.EOF:
        raise ApiError(grpc.StatusCode.INVALID_ARGUMENT, "the call has no request")
    if handler.response_streaming:
        async with aclosing(handler.unary_stream(request, context)) as responses:
            async for response in responses:
                await context.write(response)
    else:
        await context.write(await handler.unary_unary(request, context))


async def _requests(context: Context) -> AsyncIterator[Message]:
    while (request := await _read(context)) is not grpc.aio.EOF:
        yield request


async def _read(context: Context) -> Message:
    try:
        return await context.read()
    except DecodeError:
        raise ApiError(
            grpc.StatusCode.INVALID_ARGUMENT, "the request is not a message of this method"
        ) from None


async def _abort(context: Context, error: Exception, request_id: str, path: str) -> Never:
    answer = explained(error)
    if answer is None:
        log.error("request %s, %s", request_id, path, exc_info=error)
        answer = ApiError(grpc.StatusCode.INTERNAL, f"internal error, logged as {request_id}")
    metadata: tuple[tuple[str, str | bytes], ...] = ((REQUEST_ID, request_id), *answer.metadata())
    await context.abort(answer.code, answer.message, metadata)
