"""What the API tells a client when a call does not succeed: a status and, where a field is to blame, which.

Only these texts reach a client; what any other exception says stays in the log.
"""

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from controlplane.link import frames
from controlplane.plane.arc import ArcRefusedError, ArcUnavailableError

DETAILS_KEY = "grpc-status-details-bin"


class ApiError(Exception):
    """A call ends with this status."""

    def __init__(self, code: grpc.StatusCode, message: str, details: BadRequest | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The details as google.rpc.Status for the trailing metadata; nothing where there are none."""
        if self.details is None:
            return ()
        packed = Any()
        packed.Pack(self.details)
        number: int = self.code.value[0]
        status = Status(code=number, message=self.message, details=[packed])
        return ((DETAILS_KEY, status.SerializeToString()),)


def bad_field(field: str, message: str) -> ApiError:
    """The client sent something that cannot be in this field."""
    violation = BadRequest.FieldViolation(field=field, description=message)
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, message, BadRequest(field_violations=[violation]))


def explained(error: Exception) -> ApiError | None:
    """What an exception means to a client; None where that is nobody's business."""
    match error:
        case ApiError():
            return error
        case ArcRefusedError(refused=refused):
            return _refused(refused)
        case ArcUnavailableError():
            return ApiError(grpc.StatusCode.UNAVAILABLE, f"the arc does not answer: {error}")
        case _:
            return None


def _refused(answer: frames.Refused) -> ApiError:
    message = f"{answer.message} ({answer.hint})" if answer.hint else answer.message
    match answer.reason:
        case "not_found":
            return ApiError(grpc.StatusCode.NOT_FOUND, message)
        case "invalid":
            return ApiError(grpc.StatusCode.INVALID_ARGUMENT, message)
        case "busy":
            return ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        case _:
            return ApiError(grpc.StatusCode.PERMISSION_DENIED, message)
