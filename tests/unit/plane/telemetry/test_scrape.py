"""HTTP for scrapes: clients that are slow, silent, many or rude, in plain text and with TLS."""

import asyncio
import gzip
import os
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.plane.telemetry import scrape as scrape_module
from controlplane.plane.telemetry.metrics import Snapshot
from controlplane.plane.telemetry.scrape import MAX_CONNECTIONS, Scrapes, Take, serve_metrics
from controlplane.plane.tls import Context
from tests.authority import HOUR
from tests.certificates import Authority, Pair
from tests.unit.plane.loop import until

REQUEST = b"GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\r\n"
Scenario = Callable[[Scrapes], Awaitable[None]]


async def nothing_known() -> Snapshot:
    return Snapshot()


def run(
    scenario: Scenario, host: str = "127.0.0.1", tls: Context | None = None, take: Take = nothing_known
) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), serve_metrics(host, 0, take, tls) as scrapes:
            await scenario(scrapes)

    asyncio.run(main())


async def scrape(
    port: int, host: str = "127.0.0.1", request: bytes = REQUEST, tls: ssl.SSLContext | None = None
) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    writer.write(request)
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


def test_a_scrape_is_answered() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        head, _, body = (await scrape(scrapes.port)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"reflexarc_up 0.0" in body
        assert scrapes.ended == {"answered": 1}

    run(scenario)


def test_the_client_chooses_the_format() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        lines = (
            b"GET / HTTP/1.1",
            b"Accept: application/openmetrics-text;version=1.0.0",
            b"Accept-Encoding: gzip",
        )
        wants = b"\r\n".join((*lines, b"", b""))
        head, _, body = (await scrape(scrapes.port, request=wants)).partition(b"\r\n\r\n")
        assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head
        assert gzip.decompress(body).endswith(b"# EOF\n")

    run(scenario)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"GET /other HTTP/1.1", b"404"),
        (b"GET /metrics", b"400"),
        (b"\xff\x00", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000, b"431"),
    ],
)
def test_other_requests_are_refused(request_line: bytes, status: bytes) -> None:
    async def scenario(scrapes: Scrapes) -> None:
        response = await scrape(scrapes.port, request=request_line + b"\r\n\r\n")
        assert response.split()[1] == status

    run(scenario)


def test_ipv6_is_spoken() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        assert b"reflexarc_up" in await scrape(scrapes.port, "::1")

    run(scenario, "::1")


def test_many_at_once_share_one_snapshot() -> None:
    taken = 0
    gate = asyncio.Event()

    async def take() -> Snapshot:
        nonlocal taken
        taken += 1
        await gate.wait()
        return Snapshot()

    async def scenario(scrapes: Scrapes) -> None:
        clients = [asyncio.create_task(scrape(scrapes.port)) for _ in range(MAX_CONNECTIONS)]
        await until(lambda: sum(scrapes._open.values()) == MAX_CONNECTIONS)
        gate.set()
        assert all(b"reflexarc_up" in response for response in await asyncio.gather(*clients))
        assert taken == 1

    run(scenario, take=take)


def test_the_oldest_silent_connection_gives_way() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        silent = [
            await asyncio.open_connection("127.0.0.1", scrapes.port) for _ in range(MAX_CONNECTIONS + 1)
        ]
        assert await silent[0][0].read() == b""
        assert b"reflexarc_up" in await scrape(scrapes.port)
        for _, writer in silent:
            writer.close()
        assert scrapes.ended["crowded"] == 2

    run(scenario)


def test_who_has_asked_does_not_give_way_to_who_is_silent() -> None:
    gate = asyncio.Event()

    async def take() -> Snapshot:
        await gate.wait()
        return Snapshot()

    async def scenario(scrapes: Scrapes) -> None:
        client = asyncio.create_task(scrape(scrapes.port))
        await until(lambda: any(scrapes._open.values()))
        silent = [
            await asyncio.open_connection("127.0.0.1", scrapes.port) for _ in range(2 * MAX_CONNECTIONS)
        ]
        gate.set()
        assert b"reflexarc_up" in await client
        for _, writer in silent:
            writer.close()

    run(scenario, take=take)


def test_the_time_of_a_connection_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape_module, "DEADLINE_S", 0.05)

    async def scenario(scrapes: Scrapes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", scrapes.port)
        writer.write(b"GET ")
        assert await reader.read() == b""
        writer.close()
        assert scrapes.ended == {"expired": 1}

    run(scenario)


def test_without_a_descriptor_left_it_goes_on_as_soon_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scrape_module, "PAUSE_S", 0.05)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario(scrapes: Scrapes) -> None:
        client = socket.create_connection(("127.0.0.1", scrapes.port))
        client.setblocking(False)
        following = os.dup(client.fileno())
        os.close(following)
        resource.setrlimit(resource.RLIMIT_NOFILE, (following, before[1]))
        try:
            await asyncio.sleep(0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert not scrapes._open
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(REQUEST)
        assert b"reflexarc_up" in await reader.read()
        writer.close()

    run(scenario)


def test_a_client_that_goes_away_harms_nobody() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        for request in (b"", b"GET ", REQUEST, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"):
            with socket.create_connection(("127.0.0.1", scrapes.port)) as connection:
                connection.sendall(request)
        assert b"reflexarc_up" in await scrape(scrapes.port)

    run(scenario)


def test_no_task_is_left_behind() -> None:
    async def scenario(scrapes: Scrapes) -> None:
        for _ in range(5):
            await scrape(scrapes.port)
        await until(lambda: not scrapes._open)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def client_context(authority: Authority, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def refused(scrapes: Scrapes, context: ssl.SSLContext) -> bool:
    """With TLS 1.3 a client learns that it was refused when it reads."""
    before = scrapes.ended["refused"]
    try:
        response = await scrape(scrapes.port, tls=context)
    except (ssl.SSLError, ConnectionResetError):
        response = b""
    assert not response
    await until(lambda: scrapes.ended["refused"] > before)
    return True


def test_with_tls_only_clients_of_the_authority_get_in(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another authority").client()
    expired = authority.client(since=-2 * HOUR)

    async def scenario(scrapes: Scrapes) -> None:
        good = client_context(authority, authority.client())
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=good)
        for pair in (None, other, expired, authority.server()):
            assert await refused(scrapes, client_context(authority, pair))
        old = client_context(authority, authority.client())
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await refused(scrapes, old)
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=good)

    run(scenario, tls=Context(authority.files()))


def test_plain_text_and_silence_hold_up_no_tls_client(authority: Authority) -> None:
    async def scenario(scrapes: Scrapes) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", scrapes.port) for _ in range(MAX_CONNECTIONS)]
        context = client_context(authority, authority.client())
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=context)
        assert not (await scrape(scrapes.port)).startswith(b"HTTP")
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=context)
        for _, writer in silent:
            writer.close()

    run(scenario, tls=Context(authority.files()))


def test_a_new_certificate_is_served_to_the_next_client(authority: Authority, tmp_path: Path) -> None:
    files = authority.files()
    later = Authority(tmp_path, "a later authority")
    fresh = later.files()

    async def scenario(scrapes: Scrapes) -> None:
        old = client_context(authority, authority.client())
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=old)
        for name in ("cert", "key", "client_ca"):
            os.replace(getattr(fresh, name), getattr(files, name))  # noqa: PTH105
        new = ssl.create_default_context(cafile=files.client_ca)
        pair = later.client()
        new.load_cert_chain(pair.cert, pair.key)
        assert b"reflexarc_up" in await scrape(scrapes.port, tls=new)
        with pytest.raises(ssl.SSLError):
            await scrape(scrapes.port, tls=old)

    run(scenario, tls=Context(files))
