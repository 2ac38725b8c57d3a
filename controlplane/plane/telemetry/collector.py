"""The collector at the other end of OTLP/gRPC: one attempt, and what its answer means.

Owns the channel. Keeps no queue and never tries twice: that is the exporter's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub

_OPTIONS: Final = (
    # Without a pool of its own a new channel would share the broken connection of the last one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Accepted:
    """The collector has it; `rejected` of the records it will not keep, for the reason it gives."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True)
class Poisoned:
    """Something in the request will never be taken."""

    message: str


@dataclass(frozen=True)
class TooMuch:
    """The request is too large, or the collector has too much to do."""

    message: str


@dataclass(frozen=True)
class Unreachable:
    """No answer, or one that says nothing about the records."""

    code: str
    message: str


Answer = Accepted | Poisoned | TooMuch | Unreachable


class Collector:
    """One OTLP/gRPC endpoint. An async context manager."""

    def __init__(self, address: str, *, tls: bool, headers: Mapping[str, str], timeout_s: float) -> None:
        self.address = address
        self._tls = tls
        self._headers = tuple((key.lower(), value) for key, value in headers.items())
        self._timeout_s = timeout_s
        self._channel = self._connect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def send(self, request: ExportLogsServiceRequest) -> Answer:
        """One attempt."""
        stub = LogsServiceStub(self._channel)
        try:
            response: ExportLogsServiceResponse = await stub.Export(
                request, timeout=self._timeout_s, metadata=self._headers
            )
        except grpc.aio.AioRpcError as error:
            return await self._refused(error)
        partial = response.partial_success
        return Accepted(partial.rejected_log_records, partial.error_message)

    async def _refused(self, error: grpc.aio.AioRpcError) -> Answer:
        message = error.details() or ""
        match error.code():
            case grpc.StatusCode.INVALID_ARGUMENT:
                return Poisoned(message)
            case grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.OUT_OF_RANGE:
                return TooMuch(message)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                # A peer that vanished without a word leaves a connection that looks alive for minutes.
                await self._channel.close()
                self._channel = self._connect()
        return Unreachable(error.code().name, message)

    def _connect(self) -> grpc.aio.Channel:
        if self._tls:
            return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(), options=_OPTIONS)
        return grpc.aio.insecure_channel(self.address, options=_OPTIONS)
