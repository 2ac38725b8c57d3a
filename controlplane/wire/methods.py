"""The methods of the Management service, as its descriptor tells them: path, messages, streaming, role.

Both ends use this instead of generated stubs, so there is one typed place that names a path.
"""

import enum
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from controlplane.wire import access_pb2, management_pb2

MANAGEMENT: ServiceDescriptor = management_pb2.DESCRIPTOR.services_by_name["Management"]

_ROLE: Any = access_pb2.role  # protoc's own stubs leave out what an extension holds


class Role(enum.IntEnum):
    """What a caller is trusted with; each includes those below it."""

    VIEWER = access_pb2.ROLE_VIEWER
    OPERATOR = access_pb2.ROLE_OPERATOR
    ADMIN = access_pb2.ROLE_ADMIN


class Method(NamedTuple):
    """One RPC."""

    name: str
    path: str
    """`/package.Service/Method`."""
    request: type[Message]
    response: type[Message]
    streams: bool
    """Whether it answers with a stream. None takes one."""
    role: Role | None
    """Least role that may call it; None where the .proto says nothing, which nobody may call."""


def methods(service: ServiceDescriptor) -> dict[str, Method]:
    """By name. Works on any service, so that a test can hand in one without options."""
    return {method.name: _method(method) for method in service.methods}


def _method(method: MethodDescriptor) -> Method:
    option: int = method.GetOptions().Extensions[_ROLE]
    return Method(
        name=method.name,
        path=f"/{method.containing_service.full_name}/{method.name}",
        request=message_factory.GetMessageClass(method.input_type),
        response=message_factory.GetMessageClass(method.output_type),
        streams=method.server_streaming,
        role=Role(option) if option else None,
    )
