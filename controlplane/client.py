"""A small typed client of the management API, over the UNIX socket or over TLS, and of health.

Blocking, for scripts and for the command line. Knows no terminal and no exit codes.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import grpc
import msgspec
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2

from controlplane.wire import management_pb2 as pb
from controlplane.wire.methods import MANAGEMENT

TIMEOUT_S: Final = 10.0
_RECONNECT: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
M = TypeVar("M", bound=Message)
P = TypeVar(
    "P", pb.ListSensorsResponse, pb.ListStreamsResponse, pb.ListPoliciesResponse, pb.ListReflexesResponse
)


class ClientError(Exception):
    """The daemon did not do what it was asked; the message is for people."""

    reason: str = ""
    """google.rpc.ErrorInfo.reason, such as ROLE_TOO_LOW; empty where the daemon has not answered."""
    request_id: str = ""
    """By which the daemon's log and journal name the call; empty likewise."""


class ConnectError(ClientError):
    """The daemon cannot be reached, or does not answer."""


class RefusedError(ClientError):
    """The daemon does not allow it, or does not trust the caller with it."""


class NotFoundError(ClientError):
    """What was named is not there."""


class InvalidError(ClientError):
    """The request makes no sense; `fields` says why, by field, where the daemon said so."""

    def __init__(self, message: str, fields: dict[str, str]) -> None:
        super().__init__(message)
        self.fields = fields


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens: a UNIX socket, or `host:port` and the files of a mutual TLS handshake."""

    socket: str = "/run/reflexarc/management.sock"
    address: str = ""
    """Empty: the socket."""
    ca: str = ""
    cert: str = ""
    key: str = ""


class Client:
    """A connection to one daemon. Methods raise ClientError; a TLS file that cannot be read, OSError."""

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._channel = _channel(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and every watch on it."""
        self._channel.close()

    def wait(self) -> None:
        """Returns once the daemon answers, however long that takes."""
        stub = self._channel.unary_unary(
            _path("GetStatus"), pb.GetStatusRequest.SerializeToString, pb.GetStatusResponse.FromString
        )
        with _translated(self._target):
            while not _answers(stub):
                pass

    def status(self) -> pb.GetStatusResponse:
        """A snapshot of the daemon."""
        return self._call("GetStatus", pb.GetStatusRequest(), pb.GetStatusResponse)

    def sensors(self) -> list[pb.Sensor]:
        """All sensors."""
        kind = pb.ListSensorsResponse
        pages = self._pages("ListSensors", lambda token: pb.ListSensorsRequest(page_token=token), kind)
        return [sensor for page in pages for sensor in page.sensors]

    def streams(self) -> list[pb.Stream]:
        """All streams."""
        kind = pb.ListStreamsResponse
        pages = self._pages("ListStreams", lambda token: pb.ListStreamsRequest(page_token=token), kind)
        return [stream for page in pages for stream in page.streams]

    def policies(self) -> list[pb.PolicyStatus]:
        """All policies in force."""
        kind = pb.ListPoliciesResponse
        pages = self._pages("ListPolicies", lambda token: pb.ListPoliciesRequest(page_token=token), kind)
        return [policy for page in pages for policy in page.policies]

    def reflexes(self) -> Iterator[pb.Reflex]:
        """Reflexes, newest first; a page is asked for when it is wanted."""
        kind = pb.ListReflexesResponse
        pages = self._pages("ListReflexes", lambda token: pb.ListReflexesRequest(page_token=token), kind)
        return (reflex for page in pages for reflex in page.reflexes)

    def reflex(self, trace_id: str) -> pb.Reflex:
        """One reflex. Raises NotFoundError where it is not kept any more."""
        request = pb.ListReflexesRequest(trace_id=trace_id)
        return self._call("ListReflexes", request, pb.ListReflexesResponse).reflexes[0]

    def explain(self, trace_id: str) -> pb.ExplainResponse:
        """Why a reflex began; the first digits of its id do. Raises NotFoundError, InvalidError."""
        return self._call("Explain", pb.ExplainRequest(id=trace_id), pb.ExplainResponse)

    def apply(self, yaml: bytes, origin: str, *, dry_run: bool = False) -> list[pb.AppliedPolicy]:
        """Puts the policies of a file in force; `origin` is what errors call it."""
        request = pb.ApplyPolicyRequest(yaml=yaml, origin=origin, dry_run=dry_run)
        return list(self._call("ApplyPolicy", request, pb.ApplyPolicyResponse).policies)

    def delete(self, name: str) -> pb.DeletePolicyResponse:
        """Takes a policy out of force. Raises NotFoundError."""
        return self._call("DeletePolicy", pb.DeletePolicyRequest(name=name), pb.DeletePolicyResponse)

    def set_mode(self, mode: pb.Mode, policy: str = "") -> pb.SetModeResponse:
        """Sets the mode of the daemon, or of one policy."""
        return self._call("SetMode", pb.SetModeRequest(mode=mode, policy=policy), pb.SetModeResponse)

    def trigger(self, request: pb.TriggerRequest, traceparent: str = "") -> pb.TriggerResponse:
        """Does one act by hand, below the span that `traceparent` (W3C) names. Raises RefusedError, too."""
        metadata = (("traceparent", traceparent),) if traceparent else ()
        return self._call("Trigger", request, pb.TriggerResponse, metadata)

    def undo(self, trace_id: str) -> pb.UndoResponse:
        """Undoes what one reflex has in force."""
        return self._call("Undo", pb.UndoRequest(trace_id=trace_id), pb.UndoResponse)

    def close_breaker(self, policy: str = "") -> pb.CloseBreakerResponse:
        """Lets a policy act again, or without one the node."""
        request = pb.CloseBreakerRequest(policy=policy) if policy else pb.CloseBreakerRequest(node=True)
        return self._call("CloseBreaker", request, pb.CloseBreakerResponse)

    def undo_all(self) -> pb.UndoResponse:
        """Undoes everything in force."""
        return self._call("Undo", pb.UndoRequest(all=True), pb.UndoResponse)

    def watch(self) -> Iterator[pb.WatchResponse]:
        """Everything told from now on: the watch is in place when this returns."""
        stub = self._channel.unary_stream(
            _path("Watch"), pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString
        )
        call = stub(pb.WatchRequest())
        with _translated(self._target):
            # Arrives with the error, too, where the daemon does not let us watch: reading tells.
            call.initial_metadata()
        return self._read(call)

    def _read(self, call: Iterator[pb.WatchResponse]) -> Iterator[pb.WatchResponse]:
        with _translated(self._target):
            yield from call

    def _call(
        self, name: str, request: Message, kind: type[M], metadata: tuple[tuple[str, str], ...] = ()
    ) -> M:
        stub = self._channel.unary_unary(_path(name), type(request).SerializeToString, kind.FromString)
        with _translated(self._target):
            return stub(request, timeout=self._timeout_s, metadata=metadata)

    def _pages(self, name: str, ask: Callable[[str], Message], kind: type[P]) -> Iterator[P]:
        page = self._call(name, ask(""), kind)
        yield page
        while page.next_page_token:
            page = self._call(name, ask(page.next_page_token), kind)
            yield page


class HealthClient:
    """A connection to the health port, `host:port`. Methods raise ClientError."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self._target = Target(address=address)
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def components(self) -> dict[str, str]:
        """Status by component, in lower case: `serving`, `not_serving`."""
        stub = self._channel.unary_unary(
            "/grpc.health.v1.Health/List",
            health_pb2.HealthListRequest.SerializeToString,
            health_pb2.HealthListResponse.FromString,
        )
        with _translated(self._target):
            found = stub(health_pb2.HealthListRequest(), timeout=self._timeout_s).statuses
        return {name: _status_name(found[name]) for name in sorted(found)}

    def watch(self, component: str) -> Iterator[str]:
        """Status of one component now and at every change."""
        stub = self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        with _translated(self._target):
            yield from map(_status_name, stub(health_pb2.HealthCheckRequest(service=component)))


def _answers(stub: Callable[..., Message]) -> bool:
    """Blocks until connected; False when that connection broke before the answer came."""
    try:
        stub(pb.GetStatusRequest(), wait_for_ready=True)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def _status_name(response: health_pb2.HealthCheckResponse) -> str:
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status).lower()


def _path(name: str) -> str:
    return f"/{MANAGEMENT.full_name}/{name}"


def _channel(target: Target) -> grpc.Channel:
    if not target.address:
        local = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        return grpc.secure_channel(f"unix:{target.socket}", local, _RECONNECT)
    ca, key, cert = (Path(name).read_bytes() for name in (target.ca, target.key, target.cert))
    return grpc.secure_channel(target.address, grpc.ssl_channel_credentials(ca, key, cert), _RECONNECT)


@contextmanager
def _translated(target: Target) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise _told(_client_error(error, target), error) from None


def _client_error(error: grpc.RpcError, target: Target) -> ClientError:
    message = error.details() or error.code().name
    answered = "request-id" in _metadata(error)
    match error.code():
        case grpc.StatusCode.UNAVAILABLE if not answered:
            return ConnectError(_why_unreachable(target, message))
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return ConnectError(message)
        case grpc.StatusCode.CANCELLED:
            return ConnectError("the daemon ended the call")
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return RefusedError(message)
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(message)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidError(message, _fields(error))
        case _:
            return ClientError(message)


def _why_unreachable(target: Target, message: str) -> str:
    if target.address:
        return f"cannot reach the daemon at {target.address}: {message}"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(target.socket)
        except OSError as error:
            return f"cannot reach the daemon at {target.socket}: {error.strerror or error}"
    return f"the daemon at {target.socket} went away: {message}"


def _told(raised: ClientError, error: grpc.RpcError) -> ClientError:
    """With what the daemon has said of it to programs."""
    for info in _details(error, ErrorInfo):
        raised.reason = info.reason
    for request in _details(error, RequestInfo):
        raised.request_id = request.request_id
    return raised


def _fields(error: grpc.RpcError) -> dict[str, str]:
    return {
        violation.field: violation.description
        for bad in _details(error, BadRequest)
        for violation in bad.field_violations
    }


def _details(error: grpc.RpcError, kind: type[M]) -> Iterator[M]:
    status = Status.FromString(_metadata(error).get("grpc-status-details-bin", b""))
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            yield detail


def _metadata(error: grpc.RpcError) -> dict[str, Any]:
    # Tuples of key and value, whatever the stubs say; None where nobody answered.
    return dict(cast("tuple[tuple[str, Any], ...]", error.trailing_metadata() or ()))
