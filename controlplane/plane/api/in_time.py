"""Clients that stand still: a request has to come, and what is written has to go, within a time.

Who may call and what is answered, others decide.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from controlplane.plane.api.errors import REQUEST_ID, ApiError
from controlplane.plane.api.identities import Context

REQUEST_S: Final = 5.0
"""From a call's headers to the whole of its request."""
WRITE_S: Final = 10.0
"""For a client to make room for one more response; 64 KiB of them wait inside gRPC before that counts."""
STATUS_S: Final = 2.0
"""For the status of a call that failed; it may stand behind responses that nobody reads."""

Message = Any


class StalledError(ApiError):
    """The client does not read what it has asked for."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, f"dropped: nothing was read for {WRITE_S:.0f} s")


async def request(context: Context) -> Message:
    """The one request of a call. Raises ApiError where there is none, or not in time."""
    try:
        async with asyncio.timeout(REQUEST_S):
            found = await _read(context)
    except TimeoutError:
        late = f"the request has not come within {REQUEST_S:.0f} s"
        raise ApiError(grpc.StatusCode.DEADLINE_EXCEEDED, late) from None
    if found is grpc.aio.EOF:
        raise ApiError(grpc.StatusCode.INVALID_ARGUMENT, "the call has no request")
    return found


async def requests(context: Context) -> AsyncIterator[Message]:
    """Those of a stream, whenever they come. Raises ApiError for what is none."""
    while (found := await _read(context)) is not grpc.aio.EOF:
        yield found


async def write(responses: AsyncGenerator[Message, None], context: Context) -> None:
    """Every response; a client that does not read is told of to the one who makes them, by StalledError."""
    async with aclosing(responses):
        async for response in responses:
            try:
                async with asyncio.timeout(WRITE_S):
                    await context.write(response)
            except TimeoutError:
                await responses.athrow(StalledError())


async def abort(context: Context, error: ApiError, request_id: str = "") -> None:
    """Ends the call with that status; does not return. A client that takes no status is left without one."""
    named = ((REQUEST_ID, request_id),) if request_id else ()
    try:
        async with asyncio.timeout(STATUS_S):
            await context.abort(error.code, error.message, (*named, *error.metadata(request_id)))
    except TimeoutError:
        raise asyncio.CancelledError from None


async def _read(context: Context) -> Message:
    try:
        return await context.read()
    except DecodeError:
        raise ApiError(
            grpc.StatusCode.INVALID_ARGUMENT, "the request is not a message of this method"
        ) from None
