"""HTTP for scrapes: clients that are slow, silent, many or rude."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

from controlplane.plane.telemetry.metrics import Metrics, Snapshot
from controlplane.plane.telemetry.scrape import MAX_CONNECTIONS, serve_metrics

REQUEST = b"GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n"


def run(scenario: Callable[[int], Awaitable[None]], host: str = "127.0.0.1") -> None:
    async def main() -> None:
        async with asyncio.timeout(20), serve_metrics(host, 0, Metrics(Snapshot)) as port:
            await scenario(port)

    asyncio.run(main())


async def scrape(port: int, host: str = "127.0.0.1", request: bytes = REQUEST) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


def test_a_scrape_is_answered() -> None:
    async def scenario(port: int) -> None:
        response = await scrape(port)
        assert response.startswith(b"HTTP/1.0 200 OK")
        assert b"reflexarc_up 0.0" in response

    run(scenario)


def test_ipv6_is_spoken() -> None:
    async def scenario(port: int) -> None:
        assert b"reflexarc_up" in await scrape(port, "::1")

    run(scenario, "::1")


def test_many_at_once_are_all_answered() -> None:
    async def scenario(port: int) -> None:
        responses = await asyncio.gather(*(scrape(port) for _ in range(MAX_CONNECTIONS)))
        assert all(b"reflexarc_up" in response for response in responses)

    run(scenario)


def test_the_oldest_silent_connection_gives_way() -> None:
    async def scenario(port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 1)]
        assert await silent[0][0].read() == b""
        assert b"reflexarc_up" in await scrape(port)
        for _, writer in silent:
            writer.close()

    run(scenario)


def test_a_client_that_goes_away_harms_nobody() -> None:
    async def scenario(port: int) -> None:
        for request in (b"", b"GET ", b"\xff\x00\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
        assert b"reflexarc_up" in await scrape(port)

    run(scenario)


def test_no_thread_waits_between_scrapes() -> None:
    async def scenario(port: int) -> None:
        before = set(threading.enumerate())
        await scrape(port)
        for thread in set(threading.enumerate()) - before:
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()

    run(scenario)
