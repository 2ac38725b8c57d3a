"""What one attempt means, for each answer a collector may give."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from controlplane.plane.telemetry.answer import (
    MAX_WAIT_S,
    Accepted,
    Answer,
    Busy,
    Poisoned,
    TooLarge,
    Unreachable,
)
from controlplane.plane.telemetry.collector import Collector
from controlplane.plane.telemetry.security import Files
from tests.certificates import Authority
from tests.plane.sink import Fault, Sink, hang, refuse, reject, retry_after


def attempt(fault: Fault | None, *, timeout_s: float = 5, times: int = 1) -> Answer:
    async def scenario() -> Answer:
        async with Sink() as sink:
            sink.always = fault
            address = f"127.0.0.1:{sink.port}"
            async with Collector(address, tls=None, headers={}, timeout_s=timeout_s) as collector:
                answers = [await collector.send(ExportLogsServiceRequest()) for _ in range(times)]
                return answers[-1]

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, Accepted()),
        (reject(2), Accepted(2, "do not like them")),
        (refuse(grpc.StatusCode.INVALID_ARGUMENT), Poisoned("as told")),
        (refuse(grpc.StatusCode.RESOURCE_EXHAUSTED), Busy("as told")),
        (refuse(grpc.StatusCode.OUT_OF_RANGE), TooLarge("as told")),
        (refuse(grpc.StatusCode.UNAVAILABLE), Unreachable("UNAVAILABLE", "as told")),
        (refuse(grpc.StatusCode.PERMISSION_DENIED), Unreachable("PERMISSION_DENIED", "as told")),
        (
            refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, details=retry_after(1.5)),
            Unreachable("RESOURCE_EXHAUSTED", "as told", 1.5),
        ),
        (
            refuse(grpc.StatusCode.UNAVAILABLE, details=retry_after(0.25, alone=True)),
            Unreachable("UNAVAILABLE", "as told", 0.25),
        ),
        (
            refuse(grpc.StatusCode.UNAVAILABLE, details=retry_after(1e6)),
            Unreachable("UNAVAILABLE", "as told", MAX_WAIT_S),
        ),
        (
            refuse(grpc.StatusCode.UNAVAILABLE, details=(("grpc-status-details-bin", b"\xff"),)),
            Unreachable("UNAVAILABLE", "as told"),
        ),
    ],
)
def test_answers(fault: Fault | None, expected: Answer) -> None:
    assert attempt(fault) == expected


def test_silence_ends_with_the_timeout_and_a_new_connection() -> None:
    answer = attempt(hang, timeout_s=0.05, times=3)
    assert isinstance(answer, Unreachable)
    assert answer.code == "DEADLINE_EXCEEDED"


def test_nobody_there() -> None:
    async def scenario() -> Answer:
        async with Collector("127.0.0.1:1", tls=None, headers={}, timeout_s=5) as collector:
            return await collector.send(ExportLogsServiceRequest())

    answer = asyncio.run(scenario())
    assert isinstance(answer, Unreachable)
    assert answer.code == "UNAVAILABLE"


async def attempts(sink: Sink, tls: Files | None) -> Answer:
    async with Collector(f"localhost:{sink.port}", tls=tls, headers={}, timeout_s=5) as collector:
        return await collector.send(ExportLogsServiceRequest())


@pytest.mark.parametrize("gzip", [True, False])
def test_requests_are_compressed_where_that_is_asked_for(*, gzip: bool) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().schema_url = "x" * 100_000
    sent = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        nonlocal sent
        while data := await reader.read(65536):
            sent += len(data) if count else 0
            writer.write(data)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def scenario() -> None:
        ended = asyncio.Event()
        async with Sink() as sink:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there, back = await asyncio.open_connection("127.0.0.1", sink.port)
                await asyncio.gather(relay(reader, back, count=True), relay(there, writer, count=False))
                ended.set()

            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
                async with Collector(address, tls=None, headers={}, timeout_s=5, gzip=gzip) as collector:
                    assert await collector.send(request) == Accepted()
                await ended.wait()
        assert sink.requests == [request]

    asyncio.run(scenario())
    assert (sent < 10_000) is gzip


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(authority: Authority) -> grpc.ServerCredentials:
    pair = authority.server()
    return grpc.ssl_server_credentials(
        [(Path(pair.key).read_bytes(), Path(pair.cert).read_bytes())],
        root_certificates=Path(authority.ca).read_bytes(),
        require_client_auth=True,
    )


def test_a_client_certificate_lets_us_in(authority: Authority) -> None:
    async def scenario() -> None:
        client = authority.client()
        async with Sink(credentials=secured(authority)) as sink:
            files = Files(authority.ca, client.cert, client.key)
            assert await attempts(sink, files) == Accepted()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("cert", "key", "code"),
    [
        ("", "", "UNAVAILABLE"),
        ("missing.pem", "client.key", "TLS"),
        ("client.pem", "missing.key", "TLS"),
        ("client.pem", "server.key", "TLS"),
        ("garbage.pem", "garbage.pem", "TLS"),
    ],
)
def test_certificates_that_do_not_fit_are_told_and_end_nothing(
    authority: Authority, tmp_path: Path, cert: str, key: str, code: str
) -> None:
    async def scenario() -> None:
        client = authority.client()
        made = {"client.pem": client.cert, "client.key": client.key, "server.key": authority.server().key}
        (tmp_path / "garbage.pem").write_text("no certificate")
        names = [made.get(name, str(tmp_path / name)) if name else "" for name in (cert, key)]
        async with Sink(credentials=secured(authority)) as sink:
            answer = await attempts(sink, Files(authority.ca, *names))
        assert isinstance(answer, Unreachable)
        assert answer.code == code

    asyncio.run(scenario())


def test_renewed_files_are_read_with_the_next_connection(authority: Authority, tmp_path: Path) -> None:
    async def scenario() -> None:
        client, other = authority.client(), Authority(tmp_path, "other")
        trusted = tmp_path / "trusted.pem"
        shutil.copy(other.ca, trusted)
        tls = Files(str(trusted), client.cert, client.key)
        async with Sink(credentials=secured(authority)) as sink:
            address = f"localhost:{sink.port}"
            async with Collector(address, tls=tls, headers={}, timeout_s=5) as collector:
                refused = await collector.send(ExportLogsServiceRequest())
                assert isinstance(refused, Unreachable)
                shutil.copy(authority.ca, trusted)
                assert await collector.send(ExportLogsServiceRequest()) == Accepted()

    asyncio.run(scenario())
