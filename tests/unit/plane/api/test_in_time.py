"""Clients that stand still, over real gRPC: before they ask, and while they are answered."""

import socket

import grpc
import pytest

from controlplane.client import Client
from controlplane.plane.api import in_time
from controlplane.plane.story import MAX_WAITING
from controlplane.wire import management_pb2 as pb
from tests.plane.writer import notice
from tests.unit.plane.api import raw_http2
from tests.unit.plane.loop import until
from tests.unit.plane.served import Served

GET_STATUS, WATCH = b"/reflexarc.v1.Management/GetStatus", b"/reflexarc.v1.Management/Watch"
CHECK = b"/grpc.health.v1.Health/Check"


def connect(plane: Served, path: bytes) -> socket.socket:
    host, _, port = plane.health_address.partition(":")
    return raw_http2.connect((host, int(port)) if path == CHECK else plane.target.socket)


def ended(connection: socket.socket, stream: int) -> bool:
    """Whether the server ends the stream, and not the connection."""
    return any(
        each.stream == stream and each.flags & raw_http2.END_STREAM for each in raw_http2.received(connection)
    )


@pytest.mark.parametrize("path", [GET_STATUS, WATCH, CHECK])
def test_a_request_that_does_not_come(plane: Served, monkeypatch: pytest.MonkeyPatch, path: bytes) -> None:
    monkeypatch.setattr(in_time, "REQUEST_S", 0.05)
    with connect(plane, path) as connection:
        connection.sendall(raw_http2.call(path, 1))
        assert ended(connection, 1)


@pytest.mark.parametrize("path", [GET_STATUS, WATCH, CHECK])
def test_a_request_of_which_a_part_comes(plane: Served, monkeypatch: pytest.MonkeyPatch, path: bytes) -> None:
    monkeypatch.setattr(in_time, "REQUEST_S", 0.05)
    with connect(plane, path) as connection:
        whole = raw_http2.message(1, bytes(100))
        connection.sendall(raw_http2.call(path, 1) + whole[:60])
        connection.sendall(whole[60:80])
        assert ended(connection, 1)


def test_what_is_no_request_of_health(plane: Served, caplog: pytest.LogCaptureFixture) -> None:
    with grpc.insecure_channel(plane.health_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(CHECK.decode(), bytes, bytes)(b"\xff\xff", timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not caplog.records


def stuck(plane: Served) -> socket.socket:
    """A watcher to whom nothing can be written."""
    connection = raw_http2.connect(plane.target.socket)
    connection.sendall(raw_http2.window(0) + raw_http2.call(WATCH, 1))
    connection.sendall(raw_http2.message(1, pb.WatchRequest().SerializeToString(), raw_http2.END_STREAM))
    plane.await_watcher()
    return connection


def gone(plane: Served) -> None:
    async def nobody() -> None:
        await until(lambda: plane.story.watchers == 0)

    plane.loop.run(nobody())


def test_a_watcher_that_does_not_read_leaves_its_place(
    plane: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time, "WRITE_S", 0.1)
    monkeypatch.setattr(in_time, "STATUS_S", 0.1)
    with stuck(plane):
        plane.feed(*[notice(number) for number in range(MAX_WAITING - 1)])
        gone(plane)
        assert plane.story.watchers_dropped == {"stalled": 1}
        assert client.status().pid == 42


def test_nor_does_it_hold_more_than_its_buffer(plane: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_time, "WRITE_S", 0.3)
    monkeypatch.setattr(in_time, "STATUS_S", 0.1)

    def flood() -> None:
        for number in range(4 * MAX_WAITING):
            plane.story.feed(f"i-{number}", number, notice(number))

    with stuck(plane):
        plane.loop.call(flood)
        assert plane.story.watchers_dropped == {"slow": 1}
        gone(plane)
        assert plane.story.watchers_dropped == {"slow": 1}
