"""A collector for tests: takes OTLP logs over gRPC, keeps them, and misbehaves as told."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

Context = grpc.aio.ServicerContext[Any, Any]
Fault = Callable[[ExportLogsServiceRequest, Context], Awaitable[ExportLogsServiceResponse | None]]
"""Aborts, answers, or returns None: then the request is taken."""
Details = tuple[tuple[str, bytes], ...]
SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"


class Sink:
    """Counts what it took by `log.record.uid`. `faults` are used up one a request, `always` stays."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.port = port
        self._credentials = credentials
        self.requests: list[ExportLogsServiceRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.uids: Counter[str] = Counter()
        self.attempts = 0
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            ExportLogsServiceRequest.FromString,
            ExportLogsServiceResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),)
        )
        address = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Waits until the condition holds; it is looked at after every attempt."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def until_taken(self, distinct: int, seconds: float = 20) -> None:
        await self.until(lambda: len(self.uids) >= distinct, seconds)

    def records(self) -> list[LogRecord]:
        return [record for request in self.requests for record in records_of(request)]

    async def _export(self, request: ExportLogsServiceRequest, context: Context) -> ExportLogsServiceResponse:
        self.attempts += 1
        self.metadata.append(dict(context.invocation_metadata() or ()))
        try:
            fault = self.faults.popleft() if self.faults else self.always
            answer = await fault(request, context) if fault else None
            if answer is None:
                self.requests.append(request)
                self.uids.update(uid_of(record) for record in records_of(request))
                answer = ExportLogsServiceResponse()
            return answer
        finally:
            async with self._changed:
                self._changed.notify_all()


def records_of(request: ExportLogsServiceRequest) -> list[LogRecord]:
    return [
        record
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def uid_of(record: LogRecord) -> str:
    return str(attributes_of(record)["log.record.uid"])


def attributes_of(record: LogRecord) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value") or "") for item in record.attributes}


def refuse(code: grpc.StatusCode, message: str = "as told", details: Details = ()) -> Fault:
    async def fault(_: ExportLogsServiceRequest, context: Context) -> None:
        await context.abort(code, message, details)

    return fault


def retry_after(seconds: float, *, alone: bool = False) -> Details:
    """RetryInfo as the specification has it, in a status, or as some send it, `alone`."""
    info = RetryInfo()
    info.retry_delay.FromTimedelta(timedelta(seconds=seconds))
    if alone:
        return (("google.rpc.retryinfo-bin", info.SerializeToString()),)
    status = Status(code=8, message="as told")
    status.details.add().Pack(info)
    return (("grpc-status-details-bin", status.SerializeToString()),)


def slow(seconds: float) -> Fault:
    """Takes it, but not at once."""

    async def fault(_: ExportLogsServiceRequest, __: Context) -> None:
        await asyncio.sleep(seconds)

    return fault


async def hang(_: ExportLogsServiceRequest, context: Context) -> None:  # noqa: ARG001
    await asyncio.Event().wait()


def reject(count: int) -> Fault:
    async def fault(_: ExportLogsServiceRequest, __: Context) -> ExportLogsServiceResponse:
        partial = ExportLogsPartialSuccess(rejected_log_records=count, error_message="do not like them")
        return ExportLogsServiceResponse(partial_success=partial)

    return fault


def poison(is_poison: Callable[[LogRecord], bool]) -> Fault:
    """Refuses every request with such a record in it."""

    async def fault(request: ExportLogsServiceRequest, context: Context) -> None:
        if any(is_poison(record) for record in records_of(request)):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a record cannot be taken")

    return fault


def at_most(records: int) -> Fault:
    """Refuses every request with more records than that."""

    async def fault(request: ExportLogsServiceRequest, context: Context) -> None:
        if len(records_of(request)) > records:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")

    return fault
