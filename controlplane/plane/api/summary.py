"""A request in few words, for the journal: what was asked for, never at length. Pure."""

from hashlib import sha256
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

MAX_TEXT: Final = 256
"""What one short text of a record holds."""
MAX_VALUE: Final = 64
MAX_SUMMARY: Final = 1024


def summary(request: object) -> str:
    """The fields that are set, `mode=MODE_ENFORCE policy=fork-storm`; empty for a stream of requests."""
    if not isinstance(request, Message):
        return ""
    text = " ".join(f"{field.name}={_shown(field, value)}" for field, value in request.ListFields())
    return shortened(text, MAX_SUMMARY)


def shortened(text: str, size: int = MAX_TEXT) -> str:
    """At most so many characters; what is cut is shown by an ellipsis."""
    return text if len(text) <= size else f"{text[: size - 1]}\N{HORIZONTAL ELLIPSIS}"


def _shown(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, bytes):
        # Whoever has the file can tell whether it was this one.
        return f"<{len(value)} bytes, sha256 {sha256(value).hexdigest()}>"
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    return shortened(repr(value) if isinstance(value, str) else " ".join(str(value).split()), MAX_VALUE)
