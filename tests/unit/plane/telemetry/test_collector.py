"""What one attempt means, for each answer a collector may give."""

import asyncio

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from controlplane.plane.telemetry.collector import (
    Accepted,
    Answer,
    Collector,
    Poisoned,
    TooMuch,
    Unreachable,
)
from tests.plane.sink import Fault, Sink, hang, refuse, reject


def attempt(fault: Fault | None, *, timeout_s: float = 5, times: int = 1) -> Answer:
    async def scenario() -> Answer:
        async with Sink() as sink:
            sink.always = fault
            address = f"127.0.0.1:{sink.port}"
            async with Collector(address, tls=False, headers={}, timeout_s=timeout_s) as collector:
                answers = [await collector.send(ExportLogsServiceRequest()) for _ in range(times)]
                return answers[-1]

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, Accepted()),
        (reject(2), Accepted(2, "do not like them")),
        (refuse(grpc.StatusCode.INVALID_ARGUMENT), Poisoned("as told")),
        (refuse(grpc.StatusCode.RESOURCE_EXHAUSTED), TooMuch("as told")),
        (refuse(grpc.StatusCode.OUT_OF_RANGE), TooMuch("as told")),
        (refuse(grpc.StatusCode.UNAVAILABLE), Unreachable("UNAVAILABLE", "as told")),
        (refuse(grpc.StatusCode.PERMISSION_DENIED), Unreachable("PERMISSION_DENIED", "as told")),
    ],
)
def test_answers(fault: Fault | None, expected: Answer) -> None:
    assert attempt(fault) == expected


def test_silence_ends_with_the_timeout_and_a_new_connection() -> None:
    answer = attempt(hang, timeout_s=0.05, times=3)
    assert isinstance(answer, Unreachable)
    assert answer.code == "DEADLINE_EXCEEDED"


def test_nobody_there() -> None:
    async def scenario() -> Answer:
        async with Collector("127.0.0.1:1", tls=False, headers={}, timeout_s=5) as collector:
            return await collector.send(ExportLogsServiceRequest())

    answer = asyncio.run(scenario())
    assert isinstance(answer, Unreachable)
    assert answer.code == "UNAVAILABLE"
