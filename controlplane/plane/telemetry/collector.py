"""The collector at the other end of OTLP/gRPC: one attempt, and what its answer means.

Owns the channel. Keeps no queue and never tries twice: that is the exporter's.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub

from controlplane.plane.telemetry import security
from controlplane.plane.telemetry.answer import (
    Accepted,
    Answer,
    Busy,
    Poisoned,
    TooLarge,
    Unreachable,
    retry_after_s,
    retry_in,
    status_of,
)

_OPTIONS: Final = (
    # Without a pool of its own a new channel would share the broken connection of the last one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.enable_retries", 0),
)
_BROKEN: Final = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE})
"""A peer that vanished without a word leaves a connection that looks alive for minutes; and certificates
may have been renewed since the last one was made."""


class Collector:
    """One OTLP/gRPC endpoint. An async context manager."""

    def __init__(
        self,
        address: str,
        *,
        tls: security.Files | None,
        headers: Mapping[str, str],
        timeout_s: float,
        gzip: bool = False,
    ) -> None:
        self.address = address
        self._tls = tls
        self._headers = tuple((key.lower(), value) for key, value in headers.items())
        self._timeout_s = timeout_s
        self._compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()

    async def send(self, request: ExportLogsServiceRequest) -> Answer:
        """One attempt."""
        try:
            channel = self._channel = self._channel or self._connect()
        except OSError as error:
            return Unreachable("TLS", f"no credentials: {error}")
        try:
            response: ExportLogsServiceResponse = await LogsServiceStub(channel).Export(
                request, timeout=self._timeout_s, metadata=self._headers
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in _BROKEN:
                await self._hang_up()
            return _refused(error)
        partial = response.partial_success
        return Accepted(partial.rejected_log_records, partial.error_message)

    async def _hang_up(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _connect(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self.address, options=_OPTIONS, compression=self._compression)
        return grpc.aio.secure_channel(
            *(self.address, security.channel_credentials(self._tls)),
            options=_OPTIONS,
            compression=self._compression,
        )


def _refused(error: grpc.aio.AioRpcError) -> Answer:
    message, after_s = error.details() or "", _retry_info(error)
    match error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            return Poisoned(message)
        case grpc.StatusCode.OUT_OF_RANGE:
            return TooLarge(message)
        case grpc.StatusCode.RESOURCE_EXHAUSTED if after_s is None:
            return Busy(message)
        case code:
            return Unreachable(code.name, message, after_s or 0.0)


def _retry_info(error: grpc.aio.AioRpcError) -> float | None:
    """As the specification has it, inside the status; some send it alone."""
    sent = dict(error.trailing_metadata() or ())
    if (data := sent.get("grpc-status-details-bin")) and (status := status_of(bytes(data))):
        return retry_in(status)
    if alone := sent.get("google.rpc.retryinfo-bin"):
        return retry_after_s(bytes(alone))
    return None
