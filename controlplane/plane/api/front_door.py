"""The front door: the one interceptor every management call goes through.

Knows who calls, what role that gives and what role the method needs; decides before the request is read, and
has it journalled. It is also the border where exceptions become statuses. What a method does is none of its
business.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import grpc
from msgspec.structs import replace

from controlplane.link.records import Call
from controlplane.plane.api import in_time
from controlplane.plane.api.allowance import Allowance
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.errors import REQUEST_ID, ApiError, Reason, explained
from controlplane.plane.api.identities import Caller, Context, Identify, StrangerError
from controlplane.plane.api.summary import shortened, summary
from controlplane.wire.methods import Role

Handler = Any
"""A grpc.RpcMethodHandler whose methods are coroutines; the stubs describe only the blocking kind."""
Message = Any

log = logging.getLogger(__name__)

CALLER: ContextVar[Caller] = ContextVar("caller")
"""Who makes the call that the running handler serves."""


class FrontDoor(grpc.aio.ServerInterceptor):
    """Admits calls by role, has them journalled and answers for their errors."""

    def __init__(self, roles: Mapping[str, Role], identify: Identify, audit: Audit) -> None:
        """`roles`: least role by method path; a method that is not there is refused to everybody."""
        self._roles = roles
        self._identify = identify
        self._audit = audit
        self._allowance = Allowance()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Replaces the method's handler by one that asks first."""
        path: str = handler_call_details.method
        handler = await continuation(handler_call_details)

        async def serve(_: object, context: Context) -> Message:
            return await self._served(handler, path, context)

        # Requests always as a stream: gRPC parses a single one before it runs its handler.
        streams = handler is not None and handler.response_streaming
        kind = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
        return kind(
            serve,
            handler.request_deserializer if handler else None,
            handler.response_serializer if handler else None,
        )

    async def refuse(self, context: Context) -> None:
        """Ends a call of a method that nobody serves, whose name gRPC does not tell."""
        await self._served(None, "", context)

    async def _served(self, handler: Handler | None, path: str, context: Context) -> Message:
        """The response; None where responses were a stream."""
        call = Call(
            outcome="refused",
            request_id=secrets.token_hex(8),
            method=shortened(path),
            origin=shortened(context.peer()),
        )
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        try:
            caller = self._admit(path, call, context)
            CALLER.set(caller)
            self._count(caller.identity, context)
            assert handler is not None, "a method with a role has a handler"
            if self._roles[path] > Role.VIEWER:
                return await self._journalled(handler, replace(call, **_who(caller)), context)
            return await _answer(handler, await _opened(handler, context), context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  # the RPC border
            await _abort(context, error, call)

    def _admit(self, path: str, call: Call, context: Context) -> Caller:
        """Who may go on. Raises ApiError, journalled."""
        try:
            caller = self._identify(context)
        except StrangerError as error:
            refused = ApiError(grpc.StatusCode.UNAUTHENTICATED, str(error), reason=Reason.STRANGER)
            call = replace(call, identity=shortened(error.identity))
        else:
            found = self._refusal(caller, path)
            if found is None:
                return caller
            refused = found
            call = replace(call, **_who(caller))
        self._audit.refused(replace(call, code=refused.code.name, detail=shortened(refused.message)))
        raise refused

    def _refusal(self, caller: Caller, path: str) -> ApiError | None:
        role = self._roles.get(path)
        if caller.role is None:
            return ApiError(
                grpc.StatusCode.PERMISSION_DENIED,
                "the daemon does not know you",
                reason=Reason.NOT_IN_THE_TABLE,
            )
        if not path:
            return ApiError(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        if role is None:
            return ApiError(
                grpc.StatusCode.PERMISSION_DENIED, "nobody may call this method", reason=Reason.METHOD_CLOSED
            )
        if caller.role < role:
            return ApiError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this needs the role {role.name.lower()}",
                reason=Reason.ROLE_TOO_LOW,
            )
        exceeded = self._allowance.exceeded(caller.identity, changes=role > Role.VIEWER)
        return ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, exceeded) if exceeded else None

    def _count(self, identity: str, context: Context) -> None:
        def done(_: Context) -> None:
            self._allowance.end(identity)

        self._allowance.begin(identity)
        context.add_done_callback(done)  # type: ignore[arg-type]  # any function will do

    async def _journalled(self, handler: Handler, call: Call, context: Context) -> Message:
        """More than a viewer may do changes something: the journal has it before, and how it went after."""
        opened = await _opened(handler, context)
        call = replace(call, outcome="begun", what=summary(opened))
        await self._audit.begin(call)
        try:
            response = await _answer(handler, opened, context)
        except asyncio.CancelledError:
            self._audit.end(replace(call, outcome="failed", code=grpc.StatusCode.CANCELLED.name))
            raise
        except Exception as error:
            failed = explained(error) or ApiError(grpc.StatusCode.INTERNAL, "internal error")
            detail = shortened(failed.message)
            self._audit.end(replace(call, outcome="failed", code=failed.code.name, detail=detail))
            raise
        self._audit.end(replace(call, outcome="done", code=grpc.StatusCode.OK.name))
        return response


def _who(caller: Caller) -> dict[str, str]:
    role = caller.role.name.lower() if caller.role is not None else ""
    return {"identity": shortened(caller.identity), "role": role}


async def _opened(handler: Handler, context: Context) -> Message:
    """The request, or where it is a stream, its requests."""
    return in_time.requests(context) if handler.request_streaming else await in_time.request(context)


async def _answer(handler: Handler, opened: Message, context: Context) -> Message:
    if handler.response_streaming:
        respond = handler.stream_stream if handler.request_streaming else handler.unary_stream
        return await in_time.write(respond(opened, context), context)
    respond = handler.stream_unary if handler.request_streaming else handler.unary_unary
    return await respond(opened, context)


async def _abort(context: Context, error: Exception, call: Call) -> None:
    answer = explained(error)
    if answer is None:
        log.error("request %s, %s", call.request_id, call.method, exc_info=error)
        answer = ApiError(grpc.StatusCode.INTERNAL, f"internal error, logged as {call.request_id}")
    await in_time.abort(context, answer, call.request_id)
