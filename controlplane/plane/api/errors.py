"""What a client is told when a call does not succeed: a status, why, and where a field is to blame, which.

Only these texts reach a client; what any other exception says stays in the log.
"""

from enum import StrEnum

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status

from controlplane.link import frames
from controlplane.plane.arc import ArcRefusedError, ArcUnavailableError

REQUEST_ID = "request-id"
DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "reflexarc.v1"
"""Of google.rpc.ErrorInfo: whose the reasons are."""


class Reason(StrEnum):
    """Why, for programs: google.rpc.ErrorInfo.reason. Where a status says it all, that is the reason."""

    STRANGER = "STRANGER"
    """No certificate that counts."""
    NOT_IN_THE_TABLE = "NOT_IN_THE_TABLE"
    """A certificate that gives no role."""
    ROLE_TOO_LOW = "ROLE_TOO_LOW"
    METHOD_CLOSED = "METHOD_CLOSED"
    """The method names no role."""
    BAD_FIELD = "BAD_FIELD"
    """google.rpc.BadRequest says which."""
    REFUSED_BY_ARC = "REFUSED_BY_ARC"
    """A guard, or what the arc's own checks say."""
    ARC_AWAY = "ARC_AWAY"
    """Try again: it answers in a moment, or health says why not."""


class ApiError(Exception):
    """A call ends with this status."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        details: BadRequest | None = None,
        *,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.reason = reason or code.name

    def metadata(self, request_id: str = "") -> tuple[tuple[str, bytes], ...]:
        """The details as google.rpc.Status for the trailing metadata; on the health port calls have no id."""
        number: int = self.code.value[0]
        status = Status(code=number, message=self.message)
        status.details.add().Pack(ErrorInfo(reason=self.reason, domain=DOMAIN))
        if request_id:
            status.details.add().Pack(RequestInfo(request_id=request_id))
        if self.details is not None:
            status.details.add().Pack(self.details)
        return ((DETAILS_KEY, status.SerializeToString()),)


def bad_field(field: str, message: str) -> ApiError:
    """The client sent something that cannot be in this field."""
    violation = BadRequest.FieldViolation(field=field, description=message)
    return ApiError(
        grpc.StatusCode.INVALID_ARGUMENT,
        message,
        BadRequest(field_violations=[violation]),
        reason=Reason.BAD_FIELD,
    )


def explained(error: Exception) -> ApiError | None:
    """What an exception means to a client; None where that is nobody's business."""
    match error:
        case ApiError():
            return error
        case ArcRefusedError(refused=refused):
            return _refused(refused)
        case ArcUnavailableError():
            return ApiError(
                grpc.StatusCode.UNAVAILABLE, f"the arc does not answer: {error}", reason=Reason.ARC_AWAY
            )
        case _:
            return None


def _refused(answer: frames.Refused) -> ApiError:
    message = f"{answer.message} ({answer.hint})" if answer.hint else answer.message
    code = _CODES.get(answer.reason, grpc.StatusCode.PERMISSION_DENIED)
    return ApiError(code, message, reason=Reason.REFUSED_BY_ARC)


_CODES = {
    "not_found": grpc.StatusCode.NOT_FOUND,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
