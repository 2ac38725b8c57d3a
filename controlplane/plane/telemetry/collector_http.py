"""The collector at the other end of OTLP/HTTP: one POST, and what its answer means.

HTTP/1.1 on asyncio's own streams, one connection kept while it serves: no thread waits, so a stop ends it at
once. Keeps no queue and never tries twice: that is the exporter's.
"""

import asyncio
import gzip as gzip_format
import io
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, parse_headers
from time import time
from types import TracebackType
from typing import Final, NamedTuple, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from controlplane.plane.telemetry import security
from controlplane.plane.telemetry.answer import (
    Accepted,
    Answer,
    Poisoned,
    TooLarge,
    Unreachable,
    bounded_wait,
    status_of,
)
from controlplane.plane.telemetry.settings import Destination

MAX_BODY: Final = 64 * 1024
PROTOBUF: Final = "application/x-protobuf"
END: Final = b"\r\n\r\n"
_WAIT: Final = frozenset({429, 503})
"""What may come with Retry-After."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Response(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes


class HttpCollector:
    """One OTLP/HTTP endpoint. An async context manager."""

    def __init__(
        self,
        to: Destination,
        *,
        files: security.Files,
        headers: Mapping[str, str],
        timeout_s: float,
        gzip: bool = False,
    ) -> None:
        self.address = to.address
        self._to = to
        self._files = files
        self._timeout_s = timeout_s
        self._gzip = gzip
        self._streams: Streams | None = None
        own = {"Host": to.address, "Content-Type": PROTOBUF, "Accept": PROTOBUF, "User-Agent": "reflexarc"}
        if gzip:
            own["Content-Encoding"] = "gzip"
        lines = [f"{key}: {value}" for key, value in {**own, **headers}.items()]
        self._head = "\r\n".join([f"POST {to.path} HTTP/1.1", *lines])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    async def send(self, request: ExportLogsServiceRequest) -> Answer:
        """One attempt."""
        response = None
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._post(await asyncio.to_thread(self._body, request))
        except TimeoutError:
            return Unreachable("DEADLINE_EXCEEDED", f"no answer within {self._timeout_s:g} s")
        except (OSError, EOFError, HTTPException, ValueError, asyncio.LimitOverrunError) as error:
            return Unreachable("UNAVAILABLE", str(error) or type(error).__name__)
        finally:
            if response is None or response.headers.get("Connection", "").lower() == "close":
                self._hang_up()
        return meaning(response)

    def _body(self, request: ExportLogsServiceRequest) -> bytes:
        body = request.SerializeToString()
        return gzip_format.compress(body, 6) if self._gzip else body

    async def _post(self, body: bytes) -> Response:
        reader, writer = await self._connected()
        writer.write(f"{self._head}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1", "replace"))
        writer.write(body)
        await writer.drain()
        return await read_response(reader)

    async def _connected(self) -> Streams:
        if self._streams is None or self._streams[0].at_eof():
            self._hang_up()
            tls = security.context(self._files) if self._to.tls else None
            self._streams = await asyncio.open_connection(self._to.host, self._to.port, ssl=tls)
        return self._streams

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def read_response(reader: asyncio.StreamReader) -> Response:
    """The next final response. Raises EOFError, ValueError, LimitOverrunError or HTTPException."""
    while True:
        line, _, rest = (await reader.readuntil(END)).partition(b"\r\n")
        version, _, status = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
            raise ValueError(f"no HTTP/1.1: {line[:80]!r}")
        if not status.startswith(b"1"):
            headers = parse_headers(io.BytesIO(rest))
            return Response(int(status[:3]), headers, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = int(headers.get("Content-Length", "0"))
    if not 0 <= length <= MAX_BODY:
        raise ValueError(f"an answer of {length} bytes")
    return await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while length := int((await reader.readline()).partition(b";")[0], 16):
        if not 0 < length <= MAX_BODY - len(body):
            raise ValueError("an answer that is too long")
        body += await reader.readexactly(length)
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers
    return body


def meaning(response: Response) -> Answer:
    """As OTLP has it. A 400 of another type than OTLP's is a proxy's, and says nothing of the records."""
    of_collector = response.headers.get_content_type() == PROTOBUF
    match response.status:
        case status if 200 <= status < 300:
            return _accepted(response.body if of_collector else b"")
        case 400 if of_collector:
            return Poisoned(_message(response))
        case 413:
            return TooLarge(_message(response))
        case status:
            wait = _retry_after_s(response.headers) if status in _WAIT else 0.0
            return Unreachable(f"HTTP_{status}", _message(response), wait)


def _accepted(body: bytes) -> Accepted:
    try:
        partial = ExportLogsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Accepted()
    return Accepted(partial.rejected_log_records, partial.error_message)


def _message(response: Response) -> str:
    if response.headers.get_content_type() == PROTOBUF and (status := status_of(response.body)):
        return status.message
    return response.body[:200].decode(errors="replace")


def _retry_after_s(headers: Message) -> float:
    """Seconds, or a date."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return bounded_wait(float(text[:10]))
    with suppress(ValueError):
        return bounded_wait(parsedate_to_datetime(text).timestamp() - time())
    return 0.0
