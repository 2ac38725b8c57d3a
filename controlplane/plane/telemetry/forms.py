"""One log record as a line for people, as a line of OTLP JSON, or as fields of systemd's journal. Pure."""

import re
import struct
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from msgspec import json
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord

from controlplane.plane.telemetry import events

Form = Callable[[ReadableLogRecord], bytes]

MAX_FIELD: Final = 64
"""Bytes of a field's name, see systemd.journal-fields(7)."""
_NOT_IN_FIELD: Final = re.compile(r"[^A-Z0-9]+")
_PRIORITIES: Final = ((17, 3), (13, 4), (9, 6))
"""From this severity number on, that priority of syslog."""
_DEBUG: Final = 7


def text(log: ReadableLogRecord) -> bytes:
    """`10:14:20.112 WARN  finding: fork-storm: ...`, in local time."""
    record = log.log_record
    at = datetime.fromtimestamp((record.timestamp or 0) / 1e9).astimezone()
    name = (record.event_name or "").removeprefix(events.PREFIX).removesuffix(".diagnostic")
    head = f"{at:%H:%M:%S}.{at.microsecond // 1000:03} {record.severity_text or '':5}"
    return f"{head} {name}: {record.body!s}\n".encode()


def otlp_json(log: ReadableLogRecord) -> bytes:
    """One line of OTLP's JSON, as its file format has it: ids in hexadecimal digits, enums as numbers."""
    said: dict[str, Any] = MessageToDict(encode_logs([log]), use_integers_for_enums=True)
    (record,) = said["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    for key in record.keys() & {"traceId", "spanId"}:
        record[key] = b64decode(record[key]).hex()
    return json.encode(said) + b"\n"


def journal_fields(log: ReadableLogRecord) -> bytes:
    """A datagram of systemd's native protocol."""
    record = log.log_record
    number = record.severity_number.value if record.severity_number else 0
    fields: dict[str, object] = {
        "MESSAGE": record.body,
        "PRIORITY": next((priority for least, priority in _PRIORITIES if number >= least), _DEBUG),
        "SYSLOG_IDENTIFIER": "reflexarc",
        "EVENT_NAME": record.event_name,
        "TIME_UNIX_NANO": record.timestamp,
    }
    if record.trace_id:
        fields |= {"TRACE_ID": f"{record.trace_id:032x}", "SPAN_ID": f"{record.span_id or 0:016x}"}
    fields |= {_field(name): value for name, value in (record.attributes or {}).items()}
    return b"".join(_encoded(name, str(value)) for name, value in fields.items())


def _field(name: str) -> str:
    return _NOT_IN_FIELD.sub("_", name.upper()).strip("_")[:MAX_FIELD]


def _encoded(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" not in data:
        return b"%b=%b\n" % (name.encode(), data)
    return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(data)), data)
