"""How soon 1 and 1,000 watchers hear of a change of health, also beside 100 watchers that do not read.

From the arc's word on the link to the last watcher; beside grpcio's own asynchronous servicer in one run.
"""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.link.frames import Changed
from tests.bench.daemon import free_port
from tests.bench.report import Figure, Options, conclude
from tests.plane.running import node, plane
from tests.plane.test_health import PER_CONNECTION, STUCK, WATCHERS, stick

COUNT: Final = 20
GIVE_UP_S: Final = 5.0

Change = Callable[[bool], None]
Watch = grpc.aio.UnaryStreamCall[Any, Any]


def main(options: Options) -> int:
    """Ours, then the peer."""
    return asyncio.run(compare(options.count or COUNT))


async def compare(count: int) -> int:
    """Medians of the time until the last of them has heard."""
    figures: dict[str, Figure] = {}
    async with ours() as (port, change):
        mine = await measure(port, change, count)
    async with stock() as (port, change):
        theirs = await measure(port, change, count)
    for name, took in mine.items():
        peer = theirs[name]
        figures[name] = Figure(took * 1e3, "ms", peer=peer * 1e3, ratio=took / peer)
    print(f"\nmedians of {count} changes; a peer at {GIVE_UP_S * 1e3:.0f} ms had not told everybody by then")
    conclude("watchers", figures)
    return 0


@asynccontextmanager
async def ours() -> AsyncIterator[tuple[int, Change]]:
    """A plane, whose arc is this process."""
    with node() as where:
        async with plane(where, where.config()) as running:

            def change(serving: bool) -> None:  # noqa: FBT001
                running.responder.send(Changed({"arc": (serving, "")}))

            change(True)
            await running.serving("arc", serving=True)
            yield running.ports["health"], change


@asynccontextmanager
async def stock() -> AsyncIterator[tuple[int, Change]]:
    """Grpcio's own servicer in a process of its own."""
    port = free_port()
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.bench.stock_health", str(port))
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield port, lambda serving: stdin.write(b"1\n" if serving else b"0\n")
    finally:
        process.kill()
        await process.wait()


async def measure(port: int, change: Change, count: int) -> dict[str, float]:
    """Seconds, by how many watch."""
    async with watching(port, 1) as watches:
        found = {"1 watcher": await changes(watches, change, count)}
    async with watching(port, WATCHERS) as watches:
        found[f"{WATCHERS:,} watchers"] = await changes(watches, change, count)
        stuck = [await asyncio.to_thread(stick, port) for _ in range(STUCK)]
        await asyncio.to_thread(answered, stuck[-1])
        name = f"{WATCHERS:,} watchers beside {STUCK} that do not read"
        found[name] = await changes(watches, change, count)
        for connection in stuck:
            connection.close()
    return found


def answered(connection: socket.socket) -> None:
    """Something of the server's has come: its watch has begun."""
    connection.recv(1)


@asynccontextmanager
async def watching(port: int, watchers: int) -> AsyncIterator[list[Watch]]:
    """So many, all told the first time."""
    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options))
            for _ in range(-(-watchers // PER_CONNECTION))
        ]
        stubs = [health_pb2_grpc.HealthStub(channel) for channel in channels]
        request = health_pb2.HealthCheckRequest(service="arc")
        watches: list[Watch] = [stubs[number % len(stubs)].Watch(request) for number in range(watchers)]
        await asyncio.gather(*(watch.read() for watch in watches))
        yield watches


async def changes(watches: list[Watch], change: Change, count: int) -> float:
    """The median time until the last has heard; an even number, so that it serves again at the end."""
    took = []
    for serving in (False, True) * (count // 2):
        begin = time.perf_counter()
        change(serving)
        try:
            async with asyncio.timeout(GIVE_UP_S):
                await asyncio.gather(*(watch.read() for watch in watches))
        except TimeoutError:
            return GIVE_UP_S
        took.append(time.perf_counter() - begin)
    return median(took)
