"""The front door alone, before methods made for the purpose, over real gRPC."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from controlplane.client import _metadata
from controlplane.plane.api.aio_server import LIMITS, AioServer
from controlplane.plane.api.front_door import CALLER, Caller, Context, FrontDoor, local_peer
from controlplane.wire.methods import Role
from tests.unit.plane.loop import LoopThread

Identify = Callable[[Context], Caller | None]
UNIX = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)


async def whoami(_request: StringValue, _context: Context) -> StringValue:
    return StringValue(value=f"{CALLER.get().identity} {CALLER.get().role.name}")


async def count(request: StringValue, _context: Context) -> AsyncIterator[StringValue]:
    for number in range(int(request.value)):
        yield StringValue(value=str(number))


async def echo(requests: AsyncIterator[StringValue], _context: Context) -> AsyncIterator[StringValue]:
    async for request in requests:
        yield request


async def broken(_request: StringValue, _context: Context) -> StringValue:
    raise RuntimeError("the password is hunter2")


def handlers() -> dict[str, Any]:
    messages = (StringValue.FromString, StringValue.SerializeToString)
    return {
        "Whoami": grpc.unary_unary_rpc_method_handler(whoami, *messages),
        "Count": grpc.unary_stream_rpc_method_handler(count, *messages),
        "Echo": grpc.stream_stream_rpc_method_handler(echo, *messages),
        "Broken": grpc.unary_unary_rpc_method_handler(broken, *messages),
        "Unlisted": grpc.unary_unary_rpc_method_handler(whoami, *messages),
    }


ROLES = {f"/t.T/{name}": Role.OPERATOR for name in handlers() if name != "Unlisted"}


@contextmanager
def behind(loop: LoopThread, folder: Path, identify: Identify) -> Iterator[grpc.Channel]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        server = AioServer([FrontDoor(ROLES, identify)], LIMITS)
        server.register("t.T", handlers())
        server.listen(f"unix:{folder}/s", UNIX)
        await server.start()
        yield
        await server.stop()

    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    with loop.entered(serve), grpc.secure_channel(f"unix:{folder}/s", credentials) as channel:
        yield channel


def as_(role: Role) -> Identify:
    return lambda _: Caller("tester", role)


def call(channel: grpc.Channel, name: str, body: bytes = b"") -> tuple[bytes, grpc.Call]:
    return channel.unary_unary(f"/t.T/{name}", bytes, bytes).with_call(body, timeout=5)


def error(channel: grpc.Channel, name: str, body: bytes = b"") -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, name, body)
    return caught.value


def test_a_caller_with_the_role_is_let_in_and_known(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as channel:
        response, answered = call(channel, "Whoami")
    assert StringValue.FromString(response).value == "tester ADMIN"
    assert "request-id" in str(answered.trailing_metadata())


@pytest.mark.parametrize("name", ["Whoami", "Count", "Echo", "Broken"])
def test_a_caller_below_the_role_is_refused_whatever_the_kind(
    loop: LoopThread, tmp_path: Path, name: str
) -> None:
    with behind(loop, tmp_path, as_(Role.VIEWER)) as channel:
        refused = error(channel, name, b"\xff not a message, and nobody looks")
    assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.details() == "this needs the role operator"


def test_a_stranger_is_refused(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, lambda _: None) as channel:
        assert error(channel, "Whoami").code() is grpc.StatusCode.UNAUTHENTICATED
        assert error(channel, "Unlisted").code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_method_without_a_role_is_refused_even_to_admins(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as channel:
        assert error(channel, "Unlisted").code() is grpc.StatusCode.PERMISSION_DENIED


def test_streams_pass(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as channel:
        three = channel.unary_stream("/t.T/Count", bytes, bytes)(
            StringValue(value="3").SerializeToString(), timeout=5
        )
        assert [StringValue.FromString(one).value for one in three] == ["0", "1", "2"]
        said = [StringValue(value=word).SerializeToString() for word in ("a", "b")]
        assert list(channel.stream_stream("/t.T/Echo", bytes, bytes)(iter(said), timeout=5)) == said


def test_what_an_exception_says_stays_in_the_log(
    loop: LoopThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as channel:
        failed = error(channel, "Broken")
    request_id = _metadata(failed)["request-id"]
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert failed.details() == f"internal error, logged as {request_id}"
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert request_id in record.getMessage()
    assert "hunter2" in caplog.text


def test_a_request_that_is_not_a_message(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as channel:
        assert error(channel, "Whoami", b"\xff").code() is grpc.StatusCode.INVALID_ARGUMENT
        nothing = channel.stream_unary("/t.T/Whoami", bytes, bytes)
        with pytest.raises(grpc.RpcError, match="no request"):
            nothing(iter([]), timeout=5)


def test_only_a_local_unix_socket_makes_an_admin(loop: LoopThread, tmp_path: Path) -> None:
    tcp = grpc.LocalConnectionType.LOCAL_TCP
    listeners = {
        f"unix:{tmp_path}/local": (UNIX, grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)),
        f"unix:{tmp_path}/plain": (None, None),
        "127.0.0.1:0": (grpc.local_server_credentials(tcp), grpc.local_channel_credentials(tcp)),
    }

    @asynccontextmanager
    async def serve() -> AsyncIterator[dict[str, int]]:
        server = AioServer([FrontDoor(ROLES, local_peer)], LIMITS)
        server.register("t.T", handlers())
        ports = {address: server.listen(address, ours) for address, (ours, _) in listeners.items()}
        await server.start()
        yield ports
        await server.stop()

    answers = {}
    with loop.entered(serve) as ports:
        for address, (_, theirs) in listeners.items():
            target = address.replace(":0", f":{ports[address]}")
            make = grpc.secure_channel(target, theirs) if theirs else grpc.insecure_channel(target)
            with make as channel:
                try:
                    answers[address] = StringValue.FromString(call(channel, "Whoami")[0]).value
                except grpc.RpcError as refused:
                    answers[address] = refused.code().name
    assert list(answers.values()) == ["local ADMIN", "UNAUTHENTICATED", "UNAUTHENTICATED"]
