"""From a journal record to an OpenTelemetry log record with the whole of its data model.

Uses the types of the SDK and nothing of its pipeline, which loses records. Every value is made safe here, as
one the encoder cannot take would cost its whole batch.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, assert_never

import msgspec
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from controlplane import __version__
from controlplane.link.records import DECODER, Intent
from controlplane.plane.journal import Gap, Stored
from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.describe import Event, Value, describe, describe_gap, describe_undecodable

MAX_TEXT: Final = 2048
"""Characters of one value; longer ones end in an ellipsis."""
MAX_INSTANCES: Final = 8
"""Arcs whose resource is remembered; an export rarely crosses from one to another."""
MAX_FLAGS: Final = 255
_INT64: Final = 1 << 63
_BREAKS: Final = {9: "\\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | _BREAKS
_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warn": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_SCOPE: Final = InstrumentationScope(events.SCOPE_NAME, __version__, events.SCOPE_SCHEMA_URL)


class Logs:
    """Makes log records for one node. `resource` describes it and is the same for every record."""

    def __init__(self, resource: Mapping[str, Value]) -> None:
        self._base = safe_attributes(resource)
        self._resources: dict[int, Resource] = {}

    def make(self, item: Stored | Gap, observed_ns: int) -> ReadableLogRecord | None:
        """The log record of a journal record; None for a repeat that only serves the undo."""
        if isinstance(item, Gap):
            header, event, wall_ns = item.before.header, describe_gap(item.count), observed_ns
        else:
            header = item.header
            try:
                record = DECODER.decode(item.entry.payload)
                if isinstance(record, Intent) and record.carried:
                    return None
                event = describe(record, header.wall_offset_ns)
                wall_ns = record.time_ns + header.wall_offset_ns
            except (msgspec.MsgspecError, ValueError, OverflowError):
                event, wall_ns = describe_undecodable(item.entry.payload), observed_ns
        return self.of(event, item.uid, wall_ns, observed_ns, header.instance)

    def of(
        self, event: Event, uid: str, wall_ns: int, observed_ns: int, instance: int = 0
    ) -> ReadableLogRecord:
        """Any event as a log record; without an instance it is of no arc."""
        return ReadableLogRecord(
            _log_record(event, uid, wall_ns, observed_ns), self._resource(instance), _SCOPE
        )

    def _resource(self, instance: int) -> Resource:
        if instance not in self._resources:
            if len(self._resources) >= MAX_INSTANCES:
                self._resources.clear()
            own = {events.SERVICE_INSTANCE_ID: f"{instance:016x}"} if instance else {}
            self._resources[instance] = Resource({**own, **self._base}, events.SCHEMA_URL)
        return self._resources[instance]


def node_resource(overrides: Mapping[str, str]) -> dict[str, Value]:
    """What describes this node, read once; `overrides` are the operator's own attributes."""
    system = os.uname()
    found: dict[str, Value] = {
        events.SERVICE_NAME: "reflexarc",
        events.SERVICE_VERSION: __version__,
        events.HOST_NAME: system.nodename,
        events.HOST_ARCH: _ARCHITECTURES.get(system.machine, system.machine),
        events.OS_TYPE: "linux",
        events.OS_VERSION: system.release,
    }
    machine = Path("/etc/machine-id")
    if machine.exists() and (machine_id := machine.read_text(encoding="ascii").strip()):
        found[events.HOST_ID] = machine_id
    return found | dict(overrides)


def safe_attributes(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """Keys and values that are taken everywhere; an empty key becomes `_`."""
    return {safe_text(key) or "_": safe(value) for key, value in attributes.items()}


def safe(value: Value) -> Value:
    """A value that every encoder and every backend takes, as near to the given one as can be."""
    match value:
        case bool():
            return value
        case int():
            return value if -_INT64 <= value < _INT64 else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return safe_text(value)
        case _:
            assert_never(value)


def safe_text(text: str) -> str:
    """One line of valid UTF-8 of bounded length."""
    if len(text) <= MAX_TEXT and text.isprintable():
        return text  # nearly always; neither controls nor surrogates are printable
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


def _log_record(event: Event, uid: str, wall_ns: int, observed_ns: int) -> LogRecord:
    attributes = {events.LOG_RECORD_UID: uid, **safe_attributes(event.attributes)}
    return LogRecord(
        timestamp=_in_time(wall_ns),
        observed_timestamp=observed_ns,
        context=_context(event),
        severity_number=_SEVERITIES[event.severity],
        severity_text=event.severity.upper(),
        body=safe_text(event.body),
        attributes=attributes,
        event_name=safe_text(event.name),
    )


def _in_time(wall_ns: int) -> int:
    """Within what the field holds."""
    return min(max(wall_ns, 0), _INT64 - 1)


def _context(event: Event) -> Context:
    """The trace of its reflex. Never the ambient one: that of this process means nothing here."""
    trace_id, span_id = (int.from_bytes(part, "big") for part in (event.trace_id[:16], event.span_id[:8]))
    span = NonRecordingSpan(
        SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(event.trace_flags & MAX_FLAGS))
    )
    return set_span_in_context(span, Context())
