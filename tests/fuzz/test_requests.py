"""Any request gets a status that means something, from a real server; and none ends it."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from controlplane.client import Client
from controlplane.plane.api import front_door
from controlplane.wire.methods import MANAGEMENT, Method, methods
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served

METHODS = [method for method in methods(MANAGEMENT).values() if not method.streams]
MEANT = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}
WORDS = ["/", "/a/../b", "", "ff" * 16, "freeze", "kill", "kind: Policy", "10s", "-1", "\0", "é" * 100]


class Unbounded:
    """An allowance for whoever has come to try everything."""

    def exceeded(self, _identity: str, *, changes: bool) -> str:  # noqa: ARG002
        return ""

    def begin(self, _identity: str) -> None: ...

    def end(self, _identity: str) -> None: ...


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    loop, patch = LoopThread(), pytest.MonkeyPatch()
    patch.setattr(front_door, "Allowance", Unbounded)
    with served(loop, Path(tmp_path_factory.mktemp("fuzz"))) as plane:
        yield plane
    patch.undo()
    loop.close()


@pytest.fixture(scope="module")
def client(plane: Served) -> Iterator[Client]:
    with Client(plane.target) as client:
        yield client


@st.composite
def filled(draw: st.DrawFn, kind: type[Message]) -> Message:
    """A request with any of its fields set to something of their type."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.is_repeated or not draw(st.booleans()):
            continue
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                text = draw(st.sampled_from(WORDS) | st.text(max_size=20))
                is_bytes = field.type == FieldDescriptor.TYPE_BYTES
                setattr(message, field.name, text.encode() if is_bytes else text)
            case FieldDescriptor.CPPTYPE_BOOL:
                setattr(message, field.name, draw(st.booleans()))
            case FieldDescriptor.CPPTYPE_ENUM:
                setattr(message, field.name, draw(st.integers(-1, 9)))
            case FieldDescriptor.CPPTYPE_MESSAGE:
                pass
            case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_INT32:
                setattr(message, field.name, draw(st.integers(-(1 << 31), (1 << 31) - 1)))
            case _:
                setattr(message, field.name, draw(st.integers(0, (1 << 32) - 1)))
    return message


def check(client: Client, method: Method, body: bytes) -> None:
    call = client._channel.unary_unary(method.path, bytes, bytes)
    try:
        call(body, timeout=20)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
    assert code in MEANT, method.name


@given(method=st.sampled_from(METHODS), body=st.binary(max_size=200))
def test_any_bytes(client: Client, method: Method, body: bytes) -> None:
    check(client, method, body)


@given(st.data())
def test_any_fields(client: Client, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(METHODS))
    check(client, method, data.draw(filled(method.request)).SerializeToString())
