"""OTLP/HTTP: what each answer means, connections that break, and TLS. A real server gives canned answers."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from controlplane.plane.telemetry.answer import MAX_WAIT_S, Accepted, Answer, Poisoned, TooLarge, Unreachable
from controlplane.plane.telemetry.collector_http import HttpCollector
from controlplane.plane.telemetry.security import Files
from controlplane.plane.telemetry.settings import Destination
from tests.certificates import Authority

REQUEST = ExportLogsServiceRequest()
REQUEST.resource_logs.add().schema_url = "x" * 1000
UNFINISHED = b"HTTP/1.1 200"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PARTIAL = ExportLogsServiceResponse(
    partial_success=ExportLogsPartialSuccess(rejected_log_records=3, error_message="too old")
).SerializeToString()
BAD = Status(code=3, message="bad record").SerializeToString()


def answer(status: str, body: bytes = b"", kind: str = "application/x-protobuf", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    """What it was sent; `connections` counts those it took."""

    replies: list[bytes]
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    ended: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.replies:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = int(head.lower().partition("content-length:")[2].split()[0])
                self.bodies.append(await reader.readexactly(length))
                reply = self.replies.pop(0)
                writer.write(reply)
                await writer.drain()
                if reply == UNFINISHED:
                    await reader.read()
                if not reply or b"close" in reply:
                    break
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self.ended.release()


@asynccontextmanager
async def serving(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(list(replies))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        for _ in range(server.connections):
            await server.ended.acquire()


def collector(
    port: int, *, files: Files | None = None, gzip: bool = False, timeout_s: float = 5
) -> HttpCollector:
    to = Destination("http/protobuf", files is not None, "localhost", port, "/v1/logs")
    return HttpCollector(
        to, files=files or Files(), headers={"X-Key": "secret"}, timeout_s=timeout_s, gzip=gzip
    )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(main())


def attempt(*replies: bytes) -> Answer:
    async def main() -> Answer:
        async with serving(*replies) as server, collector(server.port, timeout_s=15) as ours:
            return await ours.send(REQUEST)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (OK, Accepted()),
        (answer("200 OK", PARTIAL), Accepted(3, "too old")),
        (answer("200 OK", b"\xff\xff"), Accepted()),
        (answer("202 Accepted", b"{}", "application/json"), Accepted()),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Accepted()),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x;x=y\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(PARTIAL), PARTIAL),
            Accepted(3, "too old"),
        ),
        (answer("400 Bad Request", BAD), Poisoned("bad record")),
        (
            answer("400 Bad Request", b"no certificate", "text/html"),
            Unreachable("HTTP_400", "no certificate"),
        ),
        (answer("413 Too Large", b"big", "text/plain"), TooLarge("big")),
        (answer("401 Unauthorized", b"who?", "text/plain"), Unreachable("HTTP_401", "who?")),
        (answer("502 Bad Gateway", b"", "text/html", "Retry-After: 9"), Unreachable("HTTP_502", "")),
        (answer("429 Slow", b"", "text/html", "Retry-After: 9"), Unreachable("HTTP_429", "", 9.0)),
        (
            answer("503 Busy", b"", "text/html", "Retry-After: 9999999"),
            Unreachable("HTTP_503", "", MAX_WAIT_S),
        ),
        (answer("503 Busy", b"", "text/html", "Retry-After: never"), Unreachable("HTTP_503", "")),
        (
            answer("503 Busy", b"", "text/html", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
            Unreachable("HTTP_503", ""),
        ),
    ],
)
def test_answers(reply: bytes, expected: Answer) -> None:
    assert attempt(reply) == expected


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_says_nothing_about_the_records(reply: bytes) -> None:
    said = attempt(reply)
    assert isinstance(said, Unreachable)
    assert said.code == "UNAVAILABLE"


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(reply: bytes) -> None:
    said = attempt(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + reply)
    assert isinstance(said, Accepted | Unreachable)


def test_silence_ends_with_the_timeout() -> None:
    async def scenario() -> None:
        async with serving(UNFINISHED) as server, collector(server.port, timeout_s=0.1) as ours:
            said = await ours.send(REQUEST)
            assert said == Unreachable("DEADLINE_EXCEEDED", "no answer within 0.1 s")

    run(scenario)


def test_nobody_there() -> None:
    async def scenario() -> None:
        async with collector(1) as ours:
            said = await ours.send(REQUEST)
            assert isinstance(said, Unreachable)
            assert said.code == "UNAVAILABLE"

    run(scenario)


def test_one_connection_serves_until_it_is_closed() -> None:
    closing = OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length")

    async def scenario() -> None:
        async with serving(OK, OK, closing, OK) as server, collector(server.port) as ours:
            for _ in range(4):
                assert await ours.send(REQUEST) == Accepted()
            assert server.connections == 2

    run(scenario)


def test_what_is_sent() -> None:
    async def scenario() -> None:
        async with serving(OK) as server, collector(server.port, gzip=True) as ours:
            await ours.send(REQUEST)
        (head,), (body,) = server.heads, server.bodies
        assert head.startswith("POST /v1/logs HTTP/1.1\r\n")
        assert f"Host: localhost:{server.port}\r\n" in head
        assert "Content-Type: application/x-protobuf\r\n" in head
        assert "Content-Encoding: gzip\r\n" in head
        assert "X-Key: secret\r\n" in head
        assert ExportLogsServiceRequest.FromString(gzip.decompress(body)) == REQUEST

    run(scenario)


def server_side(authority: Authority, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.server()
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    return context


def test_over_tls_with_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client()
    files = Files(authority.ca, client.cert, client.key)

    async def scenario() -> None:
        tls = server_side(authority)
        async with serving(OK, tls=tls) as server, collector(server.port, files=files) as ours:
            assert await ours.send(REQUEST) == Accepted()

    run(scenario)


def test_nothing_is_sent_to_a_stranger_nor_over_an_older_tls(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    client = authority.client()
    files = Files(authority.ca, client.cert, client.key)
    older = server_side(authority, ssl.TLSVersion.TLSv1_2)

    async def scenario() -> None:
        for context, trusted in (
            (older, files),
            (server_side(authority), files._replace(ca=stranger.ca)),
        ):
            async with serving(OK, tls=context) as server, collector(server.port, files=trusted) as ours:
                said = await ours.send(REQUEST)
                assert isinstance(said, Unreachable)
                assert server.heads == []

    run(scenario)


def test_files_that_are_missing_are_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(OK) as server, collector(server.port, files=Files(str(tmp_path / "none"))) as ours:
            said = await ours.send(REQUEST)
            assert isinstance(said, Unreachable)
            assert "No such file" in said.message

    run(scenario)
