"""The front door alone, before methods made for the purpose, over real gRPC."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from controlplane.client import _metadata
from controlplane.link.frames import Refused
from controlplane.link.records import Call
from controlplane.plane.api.aio_server import LIMITS, AioServer
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.front_door import CALLER, FrontDoor
from controlplane.plane.api.identities import Caller, Context, Identify, StrangerError, by_socket
from controlplane.plane.arc import Arc
from controlplane.wire.methods import Role
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.responder import Responder

UNIX = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)


async def whoami(_request: StringValue, _context: Context) -> StringValue:
    role = CALLER.get().role
    assert role is not None
    return StringValue(value=f"{CALLER.get().identity} {role.name}")


async def count(request: StringValue, _context: Context) -> AsyncIterator[StringValue]:
    for number in range(int(request.value)):
        yield StringValue(value=str(number))


async def echo(requests: AsyncIterator[StringValue], _context: Context) -> AsyncIterator[StringValue]:
    async for request in requests:
        yield request


async def broken(_request: StringValue, _context: Context) -> StringValue:
    raise RuntimeError("the password is hunter2")


WAITING, LEFT = asyncio.Semaphore(0), asyncio.Semaphore(0)


async def wait(_request: StringValue, _context: Context) -> StringValue:
    WAITING.release()
    try:
        return await asyncio.Future()
    finally:
        LEFT.release()


def handlers() -> dict[str, Any]:
    messages = (StringValue.FromString, StringValue.SerializeToString)
    return {
        "Whoami": grpc.unary_unary_rpc_method_handler(whoami, *messages),
        "Count": grpc.unary_stream_rpc_method_handler(count, *messages),
        "Echo": grpc.stream_stream_rpc_method_handler(echo, *messages),
        "Wait": grpc.unary_unary_rpc_method_handler(wait, *messages),
        "Broken": grpc.unary_unary_rpc_method_handler(broken, *messages),
        "Unlisted": grpc.unary_unary_rpc_method_handler(whoami, *messages),
    }


ROLES = {f"/t.T/{name}": Role.OPERATOR for name in handlers() if name != "Unlisted"}


class Door(NamedTuple):
    """A way to the methods behind the front door, and what was journalled on it."""

    channel: grpc.Channel
    responder: Responder | None

    def calls(self) -> list[Call]:
        assert self.responder is not None
        return self.responder.calls


@asynccontextmanager
async def audited() -> AsyncIterator[tuple[Audit, Responder]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    responder = Responder(theirs)
    async with Arc(ours) as arc:
        yield Audit(arc), responder
        if not arc.is_closed:
            responder.close()


@contextmanager
def behind(
    loop: LoopThread, folder: Path, identify: Identify, roles: Mapping[str, Role] | None = None
) -> Iterator[Door]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Responder]:
        async with audited() as (audit, responder):
            door = FrontDoor(ROLES if roles is None else roles, identify, audit)
            server = AioServer([door], LIMITS, door.refuse)
            server.register("t.T", handlers())
            server.listen(f"unix:{folder}/s", UNIX)
            await server.start()
            yield responder
            await server.stop()

    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    with (
        loop.entered(serve) as responder,
        grpc.secure_channel(f"unix:{folder}/s", credentials) as channel,
    ):
        yield Door(channel, responder)


def stranger(_: Context) -> Caller:
    raise StrangerError("never heard of", "dns:elsewhere")


def as_(role: Role) -> Identify:
    return lambda _: Caller("tester", role)


def call(door: Door, name: str, body: bytes = b"") -> tuple[bytes, grpc.Call]:
    return door.channel.unary_unary(f"/t.T/{name}", bytes, bytes).with_call(body, timeout=5)


def error(door: Door, name: str, body: bytes = b"") -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(door, name, body)
    return caught.value


def test_a_caller_with_the_role_is_let_in_and_known(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        response, answered = call(door, "Whoami")
    assert StringValue.FromString(response).value == "tester ADMIN"
    assert "request-id" in str(answered.trailing_metadata())


@pytest.mark.parametrize("name", ["Whoami", "Count", "Echo", "Broken"])
def test_a_caller_below_the_role_is_refused_whatever_the_kind(
    loop: LoopThread, tmp_path: Path, name: str
) -> None:
    with behind(loop, tmp_path, as_(Role.VIEWER)) as door:
        refused = error(door, name, b"\xff not a message, and nobody looks")
    assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.details() == "this needs the role operator"


def test_a_stranger_is_refused(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, stranger) as door:
        for name in ("Whoami", "Unlisted", "Nothing"):
            refused = error(door, name)
            assert (refused.code(), refused.details()) == (grpc.StatusCode.UNAUTHENTICATED, "never heard of")
    assert [call.identity for call in door.calls()] == ["dns:elsewhere"] * 3


def outcomes(door: Door) -> list[tuple[str, str]]:
    return [(call.outcome, call.code) for call in door.calls()]


def test_what_changes_something_is_journalled_before_and_after(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        _, answered = call(door, "Whoami", StringValue(value="a b").SerializeToString())
        request_id = dict(answered.trailing_metadata() or ())["request-id"]
    begun, done = door.calls()
    assert (begun.outcome, begun.what, begun.identity, begun.role) == (
        "begun",
        "value='a b'",
        "tester",
        "admin",
    )
    assert (done.outcome, done.code, done.method, done.origin) == ("done", "OK", "/t.T/Whoami", "unix:")
    assert begun.request_id == done.request_id == request_id


def test_looking_is_not_journalled(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN), dict.fromkeys(ROLES, Role.VIEWER)) as door:
        call(door, "Whoami")
        assert error(door, "Whoami", b"\xff").code() is grpc.StatusCode.INVALID_ARGUMENT
    assert door.calls() == []


def test_how_it_failed_is_journalled(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        error(door, "Broken")
    assert outcomes(door) == [("begun", ""), ("failed", "INTERNAL")]
    assert "hunter2" not in str(door.calls())


def test_a_caller_who_leaves_in_between(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        waiting = door.channel.unary_unary("/t.T/Wait", bytes, bytes).future(b"", timeout=10)
        loop.run(asyncio.wait_for(WAITING.acquire(), 10))
        waiting.cancel()
        loop.run(asyncio.wait_for(LEFT.acquire(), 10))
        call(door, "Whoami")
    assert outcomes(door)[:2] == [("begun", ""), ("failed", "CANCELLED")]


def test_without_a_journal_nothing_is_changed(
    loop: LoopThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        monkeypatch.setattr(door.responder, "_answer", lambda _: Refused("busy", "too many calls to journal"))
        # Broken would say INTERNAL if it were run.
        assert error(door, "Broken").code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert door.responder is not None
        loop.call(door.responder.close)
        assert error(door, "Broken").code() is grpc.StatusCode.UNAVAILABLE


def test_a_name_without_a_role_may_do_nothing(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, lambda _: Caller("known", None)) as door:
        for name in ("Whoami", "Unlisted", "Nothing"):
            assert error(door, name).code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_method_nobody_serves(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        for _ in range(3):
            assert error(door, "Nothing").code() is grpc.StatusCode.UNIMPLEMENTED
        assert call(door, "Whoami")
    refused = [call for call in door.calls() if call.outcome == "refused"]
    assert {(one.identity, one.method, one.code) for one in refused} == {("tester", "", "UNIMPLEMENTED")}
    assert len(refused) == 3


def test_a_method_without_a_role_is_refused_even_to_admins(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.ADMIN)) as door:
        assert error(door, "Unlisted").code() is grpc.StatusCode.PERMISSION_DENIED


def test_streams_pass(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as door:
        three = door.channel.unary_stream("/t.T/Count", bytes, bytes)(
            StringValue(value="3").SerializeToString(), timeout=5
        )
        assert [StringValue.FromString(one).value for one in three] == ["0", "1", "2"]
        said = [StringValue(value=word).SerializeToString() for word in ("a", "b")]
        assert list(door.channel.stream_stream("/t.T/Echo", bytes, bytes)(iter(said), timeout=5)) == said


def test_what_an_exception_says_stays_in_the_log(
    loop: LoopThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as door:
        failed = error(door, "Broken")
    request_id = _metadata(failed)["request-id"]
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert failed.details() == f"internal error, logged as {request_id}"
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert request_id in record.getMessage()
    assert "hunter2" in caplog.text


def test_a_request_that_is_not_a_message(loop: LoopThread, tmp_path: Path) -> None:
    with behind(loop, tmp_path, as_(Role.OPERATOR)) as door:
        assert error(door, "Whoami", b"\xff").code() is grpc.StatusCode.INVALID_ARGUMENT
        nothing = door.channel.stream_unary("/t.T/Whoami", bytes, bytes)
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
        async with audited() as (audit, _):
            server = AioServer([FrontDoor(ROLES, by_socket(Role.OPERATOR), audit)], LIMITS)
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
                    answers[address] = StringValue.FromString(call(Door(channel, None), "Whoami")[0]).value
                except grpc.RpcError as refused:
                    answers[address] = refused.code().name
    assert list(answers.values()) == ["unix:operator OPERATOR", "UNAUTHENTICATED", "UNAUTHENTICATED"]
