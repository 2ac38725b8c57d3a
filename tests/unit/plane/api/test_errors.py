"""Exceptions as statuses."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

from controlplane.link.frames import Refused
from controlplane.plane.api.errors import DETAILS_KEY, ApiError, Reason, bad_field, explained
from controlplane.plane.arc import ArcRefusedError, ArcUnavailableError

SECURITY = Path(__file__).parents[4] / "docs/security.md"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("not_found", grpc.StatusCode.NOT_FOUND),
        ("busy", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT),
        ("forbidden", grpc.StatusCode.PERMISSION_DENIED),
        ("something new", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_refusal_of_the_arc(reason: str, code: grpc.StatusCode) -> None:
    answer = explained(ArcRefusedError(Refused(reason, "no", "try that")))
    assert answer is not None
    assert (answer.code, answer.message, answer.reason) == (code, "no (try that)", Reason.REFUSED_BY_ARC)


def test_an_arc_that_is_away() -> None:
    answer = explained(ArcUnavailableError("the arc is gone"))
    assert answer is not None
    assert answer.code is grpc.StatusCode.UNAVAILABLE


def test_what_nobody_foresaw_is_nobodys_business() -> None:
    assert explained(RuntimeError("secret")) is None


def test_details_agree_with_the_status() -> None:
    ((key, packed),) = bad_field("yaml", "line 3").metadata("0123")
    status = Status.FromString(packed)
    assert (key, status.code, status.message) == (DETAILS_KEY, 3, "line 3")
    info, request, bad = ErrorInfo(), RequestInfo(), BadRequest()
    for packed_detail, detail in zip(status.details, (info, request, bad), strict=True):
        assert packed_detail.Unpack(detail)
    assert (info.reason, info.domain, request.request_id) == ("BAD_FIELD", "reflexarc.v1", "0123")
    assert [(each.field, each.description) for each in bad.field_violations] == [("yaml", "line 3")]


def test_the_page_has_every_reason() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| [^|]+ \| [^|]+ \|$", SECURITY.read_text(), re.MULTILINE)
    assert [row for row in rows if not row.startswith("CAP_")] == list(Reason)


def test_where_nothing_more_is_to_be_said_the_status_is_the_reason() -> None:
    assert ApiError(grpc.StatusCode.NOT_FOUND, "no").reason == "NOT_FOUND"
