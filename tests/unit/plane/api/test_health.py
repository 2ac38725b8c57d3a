"""Health over its own port: Check, List, and Watch with many watchers, slow ones among them."""

import asyncio
import struct
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.client import HealthClient
from controlplane.plane.api import health as health_module
from tests.unit.plane.api import raw_http2
from tests.unit.plane.served import Served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WATCHERS = 1_000
PER_CONNECTION = 50


@pytest.fixture
def stub(plane: Served) -> Iterator[health_pb2_grpc.HealthStub]:
    with grpc.insecure_channel(plane.health_address) as channel:
        yield stub_on(channel)


def stub_on(channel: grpc.Channel | grpc.aio.Channel) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(channel)


def asked(component: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=component)


def update(plane: Served, **components: bool) -> None:
    plane.loop.call(plane.health.update, components)


def test_check(plane: Served, stub: health_pb2_grpc.HealthStub) -> None:
    assert stub.Check(asked(""), timeout=5).status == NOT_SERVING
    update(plane, arc=True, export=False)
    assert stub.Check(asked("arc"), timeout=5).status == SERVING
    assert stub.Check(asked("export"), timeout=5).status == NOT_SERVING


def test_the_whole_serves_while_its_arc_does(plane: Served, stub: health_pb2_grpc.HealthStub) -> None:
    update(plane, arc=True, policy=False)
    assert stub.Check(asked(""), timeout=5).status == SERVING
    update(plane, arc=False)
    assert stub.Check(asked(""), timeout=5).status == NOT_SERVING


def test_check_of_an_unknown_component(stub: health_pb2_grpc.HealthStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(asked("nothing"), timeout=5)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_list(plane: Served) -> None:
    update(plane, arc=True, export=False)
    with HealthClient(plane.health_address) as client:
        assert client.components() == {"": "serving", "arc": "serving", "export": "not_serving"}


def test_watch_pushes_on_change_and_on_nothing_else(plane: Served, stub: health_pb2_grpc.HealthStub) -> None:
    watch = stub.Watch(asked("sensor.cpu"))
    assert next(watch).status == UNKNOWN
    plane.loop.call(plane.health.update, {"sensor.cpu": True})
    assert next(watch).status == SERVING
    update(plane, export=True)
    plane.loop.call(plane.health.update, {"sensor.cpu": True})
    plane.loop.call(plane.health.update, {"sensor.cpu": False})
    assert next(watch).status == NOT_SERVING
    watch.cancel()


def test_a_thousand_watchers_hear_of_every_change(plane: Served) -> None:
    async def main() -> None:
        channels = [
            grpc.aio.insecure_channel(plane.health_address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(WATCHERS // PER_CONNECTION)
        ]
        stubs = [stub_on(channel) for channel in channels]
        watches = [stubs[number % len(stubs)].Watch(asked("arc")) for number in range(WATCHERS)]

        async def all_hear(status: int) -> None:
            answers = await asyncio.gather(*(watch.read() for watch in watches))
            assert {answer.status for answer in answers} == {status}

        await all_hear(UNKNOWN)
        for serving in (True, False, True):
            plane.health.update({"arc": serving})
            await all_hear(SERVING if serving else NOT_SERVING)
        for watch in watches:
            watch.cancel()
        for channel in channels:
            await channel.close()

    plane.loop.run(main())


def test_watchers_are_bounded(stub: health_pb2_grpc.HealthStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "MAX_WATCHERS", 1)
    first = stub.Watch(asked(""))
    assert next(first).status == NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        next(stub.Watch(asked("")))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    first.cancel()


def test_a_watcher_that_cannot_be_written_to_holds_up_nobody(
    plane: Served, stub: health_pb2_grpc.HealthStub
) -> None:
    host, port = plane.health_address.split(":")
    tiny_window = raw_http2.frame(raw_http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 1))
    with raw_http2.connect((host, int(port))) as stuck:
        stuck.sendall(tiny_window + raw_http2.call(b"/grpc.health.v1.Health/Watch", 1))
        stuck.sendall(raw_http2.frame(0, 1, 1, bytes(5)))
        while not plane.health.watchers:
            stuck.recv(1024)
        watch = stub.Watch(asked("arc"))
        assert next(watch).status == UNKNOWN
        for serving in (True, False) * 20:
            update(plane, arc=serving)
            assert next(watch).status == (SERVING if serving else NOT_SERVING)
        assert stub.Check(asked("arc"), timeout=5).status == NOT_SERVING
        watch.cancel()
