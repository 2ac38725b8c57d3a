"""Exceptions as statuses."""

import grpc
import pytest
from google.rpc.status_pb2 import Status

from controlplane.link.frames import Refused
from controlplane.plane.api.errors import DETAILS_KEY, ApiError, bad_field, explained
from controlplane.plane.arc import ArcRefusedError, ArcUnavailableError


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("not_found", grpc.StatusCode.NOT_FOUND),
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT),
        ("forbidden", grpc.StatusCode.PERMISSION_DENIED),
        ("something new", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_refusal_of_the_arc(reason: str, code: grpc.StatusCode) -> None:
    answer = explained(ArcRefusedError(Refused(reason, "no", "try that")))
    assert answer is not None
    assert (answer.code, answer.message, answer.metadata()) == (code, "no (try that)", ())


def test_an_arc_that_is_away() -> None:
    answer = explained(ArcUnavailableError("the arc is gone"))
    assert answer is not None
    assert answer.code is grpc.StatusCode.UNAVAILABLE


def test_what_nobody_foresaw_is_nobodys_business() -> None:
    assert explained(RuntimeError("secret")) is None


def test_details_agree_with_the_status() -> None:
    ((key, packed),) = bad_field("yaml", "line 3").metadata()
    status = Status.FromString(packed)
    assert (key, status.code, status.message) == (DETAILS_KEY, 3, "line 3")
    assert explained(ApiError(grpc.StatusCode.OK, "")) is not None
