"""The servers as a whole: who may connect, what is served, and what a hostile client achieves."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from controlplane.client import Client, ConnectError, HealthClient
from controlplane.plane.api import management
from controlplane.plane.api.aio_server import LIMITS, AioServer, Handlers
from controlplane.plane.api.front_door import FrontDoor
from controlplane.plane.api.identities import Caller, by_socket
from controlplane.plane.api.management import Management
from controlplane.plane.api.server import (
    MAX_SOCKET_PATH,
    management_server,
    roles,
    serve_health,
    serve_socket,
)
from controlplane.wire import access_pb2, management_pb2
from controlplane.wire.methods import MANAGEMENT, Role, methods
from tests.unit.plane.api import raw_http2
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served

asked = reflection_pb2.ServerReflectionRequest
REFLECTION = ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"]


def reflect(
    plane: Served, service: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    with grpc.secure_channel(f"unix:{plane.target.socket}", credentials) as channel:
        stub = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        return next(stub(iter([request]), timeout=5))


def test_only_the_owner_may_connect(plane: Served) -> None:
    assert stat.S_IMODE(Path(plane.target.socket).stat().st_mode) == 0o600
    umask = os.umask(0o22)
    os.umask(umask)
    assert umask != 0o177


def test_every_method_has_a_role_and_every_role_a_method() -> None:
    every = {method.path: method.role for method in methods(MANAGEMENT).values()}
    assert None not in every.values()
    assert every.items() <= roles().items()
    assert set(roles()) - set(every) == {f"/{service}/ServerReflectionInfo" for service in REFLECTION}


@pytest.mark.parametrize("role", Role)
def test_a_role_reaches_its_methods_and_no_others(plane: Served, tmp_path: Path, role: Role) -> None:
    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        server = AioServer([FrontDoor(roles(), lambda _: Caller("tester", role), plane.doors.audit)], LIMITS)
        server.register(MANAGEMENT.full_name, management.handlers(Management(plane.arc, plane.story)))
        server.listen(f"unix:{tmp_path}/roles")
        await server.start()
        yield
        await server.stop()

    refused = set()
    with plane.loop.entered(serve), grpc.insecure_channel(f"unix:{tmp_path}/roles") as channel:
        for method in methods(MANAGEMENT).values():
            call = channel.unary_stream(method.path, bytes, bytes)(b"", timeout=5)
            try:
                call.initial_metadata()
                if not method.streams:
                    list(call)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    refused.add(method.name)
            call.cancel()
    assert refused == {
        method.name for method in methods(MANAGEMENT).values() if method.role is None or method.role > role
    }


@pytest.mark.parametrize("service", REFLECTION)
def test_reflection_lists_the_services(plane: Served, service: str) -> None:
    listed = reflect(plane, service, asked(list_services="")).list_services_response.service
    assert [one.name for one in listed] == [REFLECTION[0], MANAGEMENT.full_name]


def test_reflection_gives_the_descriptor(plane: Served) -> None:
    answer = reflect(plane, REFLECTION[0], asked(file_containing_symbol=MANAGEMENT.full_name))
    (descriptor, *_) = answer.file_descriptor_response.file_descriptor_proto
    assert b"reflexarc/v1/management.proto" in descriptor


def test_health_does_not_reflect(plane: Served) -> None:
    with grpc.insecure_channel(plane.health_address) as channel:
        stub = channel.stream_stream(f"/{REFLECTION[0]}/ServerReflectionInfo", bytes, bytes)
        with pytest.raises(grpc.RpcError):
            next(stub(iter([b""]), timeout=0.1))


@pytest.mark.parametrize("where", ["management", "health"])
def test_a_path_that_is_not_utf8_does_not_end_the_server(plane: Served, client: Client, where: str) -> None:
    host, port = plane.health_address.split(":")
    address = plane.target.socket if where == "management" else (host, int(port))
    with raw_http2.connect(address) as hostile:
        for stream in range(1, 80, 2):
            hostile.sendall(raw_http2.call(b"/t.T/\xff", stream))
        # What comes after on the same connection has been seen after it.
        hostile.sendall(raw_http2.call(b"/reflexarc.v1.Management/GetStatus", 81))
        hostile.sendall(raw_http2.call(b"/grpc.health.v1.Health/List", 83))
        assert hostile.recv(1)
        assert client.status().pid == 42
        with grpc.insecure_channel(plane.health_address) as channel:
            assert channel.unary_unary("/grpc.health.v1.Health/List", bytes, bytes)(b"", timeout=5)


def test_an_unknown_method_is_refused(client: Client) -> None:
    unknown = client._channel.unary_unary("/reflexarc.v1.Management/Nothing", bytes, bytes)
    with pytest.raises(grpc.RpcError) as caught:
        unknown(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert client.status().pid == 42


def test_the_path_of_the_socket_is_bounded_by_the_kernel(plane: Served, tmp_path: Path) -> None:
    path = tmp_path / ("x" * MAX_SOCKET_PATH)
    with (
        pytest.raises(OSError, match="at most 107 bytes"),
        plane.loop.entered(lambda: serve_socket(path, Role.ADMIN, plane.doors)),
    ):
        pass


def test_a_socket_that_cannot_be_made(plane: Served, tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        plane.loop.entered(lambda: serve_socket(tmp_path / "missing" / "s", Role.ADMIN, plane.doors)),
    ):
        pass


def test_a_port_that_is_taken(plane: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(OSError, match="cannot listen"),
            plane.loop.entered(lambda: serve_health(address, plane.health, plane.doors.audit)),
        ):
            pass


def test_the_socket_is_gone_afterwards(plane: Served, tmp_path: Path) -> None:
    path = tmp_path / "second.sock"
    with plane.loop.entered(lambda: serve_socket(path, Role.ADMIN, plane.doors)):
        assert path.is_socket()
    assert not path.exists()


def test_a_server_that_stops_lets_its_watchers_go(
    loop: LoopThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(loop, tmp_path) as plane:
        client, probe = Client(plane.target), HealthClient(plane.health_address)
        events, healths = client.watch(), probe.watch("")
        assert next(healths) == "not_serving"
    with client, pytest.raises(ConnectError, match="the daemon stops"):
        next(events)
    with probe:
        assert list(healths) == []
    assert caplog.records == []


def test_without_tls_its_libraries_are_not_there() -> None:
    code = "import sys, controlplane.plane.daemon; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_method_of_every_service_of_ours_has_a_role() -> None:
    """Whatever is served beside health is in the table of roles, and comes from an option or from here."""
    ours = [
        service
        for module in (access_pb2, management_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    assert [service.full_name for service in ours] == [MANAGEMENT.full_name]
    for service in ours:
        for method in methods(service).values():
            assert method.role is not None, f"{method.path} needs `option (role)` in the .proto"
            assert roles()[method.path] is method.role


def test_what_a_server_serves_is_in_the_table(plane: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served: set[str] = set()

    def register(_: AioServer, service: str, handlers: Handlers) -> None:
        served.update(f"/{service}/{name}" for name in handlers)

    monkeypatch.setattr(AioServer, "register", register)
    plane.loop.call(management_server, plane.doors, by_socket(Role.ADMIN), LIMITS)
    assert served == set(roles())
