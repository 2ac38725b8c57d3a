"""Health as orchestrators see it: probes of Kubernetes and a thousand watchers, of a real plane."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.link.frames import Changed, Done, Ping, Reply
from tests.patience import patient
from tests.plane.kubelet import probe
from tests.plane.running import Running, node, plane
from tests.unit.plane.api import raw_http2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WATCHERS = 1_000
PER_CONNECTION = 50
STUCK = 100
TINY_WINDOW = struct.pack(">HI", 4, 8)
"""SETTINGS_INITIAL_WINDOW_SIZE of 8 bytes: one answer fits, and none is ever read."""


def run(scenario: Callable[[Running], Awaitable[None]]) -> None:
    async def main() -> None:
        with node() as where:
            async with asyncio.timeout(50), plane(where, where.config()) as running:
                arc_is(running, serving=True)
                await running.serving("arc", serving=True)
                await scenario(running)

    asyncio.run(main())


def arc_is(running: Running, *, serving: bool) -> None:
    running.responder.send(Changed({"arc": (serving, ""), "sensor.cpu": (False, "no BTF")}))


async def probed(running: Running, service: str = "") -> str:
    return await asyncio.to_thread(probe, running.ports["health"], service)


def test_the_probe_of_kubernetes() -> None:
    async def scenario(running: Running) -> None:
        assert await probed(running) == "success"
        assert await probed(running, "plane") == "success"
        assert await probed(running, "sensor.cpu") == "service unhealthy: NOT_SERVING"
        assert await probed(running, "nothing") == "error: health rpc probe failed: NOT_FOUND"
        arc_is(running, serving=False)
        await running.serving("", serving=False)
        assert await probed(running) == "service unhealthy: NOT_SERVING"

    run(scenario)


def test_a_probe_finds_out_that_the_arc_is_stuck_and_watchers_are_told() -> None:
    async def scenario(running: Running) -> None:
        running.responder.silent = True
        await asyncio.sleep(0.1)  # an answer from before is good for as long
        assert await probed(running) == "service unhealthy: NOT_SERVING"
        await running.serving("", serving=False)
        assert await probed(running, "plane") == "success"
        running.responder.silent = False
        (ping,) = (command for command in running.responder.commands if isinstance(command, Ping))
        running.responder.send(Reply(ping.id, Done()))
        await running.serving("arc", serving=True)
        assert await probed(running) == "success"

    run(scenario)


def test_a_thousand_watchers_hear_of_a_change_though_a_hundred_do_not_read() -> None:
    async def scenario(running: Running) -> None:
        stuck = [await asyncio.to_thread(stick, running.ports["health"]) for _ in range(STUCK)]
        channels = [
            grpc.aio.insecure_channel(
                f"127.0.0.1:{running.ports['health']}", [("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(WATCHERS // PER_CONNECTION)
        ]
        stubs = [health_pb2_grpc.HealthStub(channel) for channel in channels]
        request = health_pb2.HealthCheckRequest(service="arc")
        watches = [stubs[number % len(stubs)].Watch(request) for number in range(WATCHERS)]

        async def hear(status: int) -> None:
            answers = await asyncio.gather(*(watch.read() for watch in watches))
            assert {answer.status for answer in answers} == {status}

        await hear(SERVING)
        watching = (await running.metrics())["reflexarc_health_watchers"]
        assert watching == WATCHERS + STUCK
        for serving in (False, True) * 3:
            arc_is(running, serving=serving)
            await hear(SERVING if serving else NOT_SERVING)
            assert await probed(running) == ("success" if serving else "service unhealthy: NOT_SERVING")
        for connection in stuck:
            connection.close()
        for channel in channels:
            await channel.close()

    run(scenario)


def stick(port: int) -> socket.socket:
    """A watcher that cannot be written to."""
    connection = raw_http2.connect(("127.0.0.1", port))
    connection.sendall(raw_http2.frame(raw_http2.SETTINGS, 0, 0, TINY_WINDOW))
    connection.sendall(raw_http2.call(b"/grpc.health.v1.Health/Watch", 1))
    request = health_pb2.HealthCheckRequest(service="arc").SerializeToString()
    connection.sendall(raw_http2.frame(0, 1, 1, struct.pack(">BI", 0, len(request)) + request))
    return connection


def test_one_watcher_hears_within_milliseconds() -> None:
    """The median of twenty changes, from the arc's word on the link to the watcher; the machine is shared."""

    async def scenario(running: Running) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.ports['health']}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="arc"))
            await watch.read()
            took = []
            for serving in (False, True) * 10:
                begin = time.perf_counter()
                arc_is(running, serving=serving)
                await watch.read()
                took.append(time.perf_counter() - begin)
            assert sorted(took)[10] < patient(0.02)

    run(scenario)
