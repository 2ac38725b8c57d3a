"""What the answer to one attempt means for the records in it, whatever protocol brought it. Pure."""

from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

MAX_WAIT_S: Final = 600.0
"""Longest that a collector may have us wait before the next attempt."""


@dataclass(frozen=True)
class Accepted:
    """The collector has it; `rejected` of the records it will not keep, for the reason it gives."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True)
class Poisoned:
    """Something in the request will never be taken."""

    message: str


@dataclass(frozen=True)
class TooLarge:
    """The request will never be taken in this size."""

    message: str


@dataclass(frozen=True)
class Busy:
    """The collector has too much to do, or the request is too large for it: gRPC has one code for both."""

    message: str


@dataclass(frozen=True)
class Unreachable:
    """No answer, or one that says nothing about the records."""

    code: str
    message: str
    after_s: float = 0.0
    """The collector wants to be left alone for so long."""


Answer = Accepted | Poisoned | TooLarge | Busy | Unreachable


def bounded_wait(seconds: float) -> float:
    """What a collector asks for, within what it may."""
    return min(max(seconds, 0.0), MAX_WAIT_S)


def retry_after_s(info: bytes) -> float | None:
    """Of an encoded google.rpc.RetryInfo; None for anything else."""
    try:
        return _seconds(RetryInfo.FromString(info).retry_delay)
    except DecodeError:
        return None


def status_of(data: bytes) -> Status | None:
    """An encoded google.rpc.Status; None for anything else."""
    try:
        return Status.FromString(data)
    except DecodeError:
        return None


def retry_in(status: Status) -> float | None:
    """What a status says about when to come again; None where it says nothing."""
    for detail in status.details:
        if detail.type_url.endswith("/google.rpc.RetryInfo"):
            return retry_after_s(detail.value)
    return None


def _seconds(delay: Duration) -> float:
    return bounded_wait(delay.seconds + delay.nanos / 1e9)
