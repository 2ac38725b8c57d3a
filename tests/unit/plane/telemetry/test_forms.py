"""One record as text, as a line of OTLP JSON, as fields of systemd's journal."""

import json
import re
import struct

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord

from controlplane.link.records import Notice, Record
from controlplane.plane.telemetry import events, forms
from controlplane.plane.telemetry.describe import Severity
from controlplane.plane.telemetry.logs import Logs
from tests.plane.every import EVERY, LABELS
from tests.unit.plane import told
from tests.unit.plane.telemetry.test_logs import OBSERVED, stored


def log(record: Record) -> ReadableLogRecord:
    made = Logs({"service.name": "s"}).make(stored(record), OBSERVED)
    assert made is not None
    return made


def fields(data: bytes) -> dict[str, str]:
    """As systemd reads them."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        found[name.decode()] = value.decode()
    return found


@pytest.mark.parametrize("record", EVERY, ids=LABELS)
def test_text_is_one_line(record: Record) -> None:
    line = forms.text(log(record)).decode()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d (INFO |WARN |ERROR) [a-z._]+: .+\n", line)


def test_text_says_what_people_need() -> None:
    line = forms.text(log(told.outcome())).decode()
    assert line.endswith("WARN  reflex.act: fork-storm: freeze done\n")


@pytest.mark.parametrize("record", EVERY, ids=LABELS)
def test_json_is_what_goes_over_the_wire(record: Record) -> None:
    """Read as OTLP's JSON says: ids are hexadecimal there, and base64 in that of protobuf."""
    line = forms.otlp_json(log(record))
    assert line.count(b"\n") == 1
    said = json.loads(line)
    (item,) = said["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    ids = {key: bytes.fromhex(item.pop(key)) for key in ("traceId", "spanId") if key in item}
    read = ParseDict(said, ExportLogsServiceRequest())
    parsed = read.resource_logs[0].scope_logs[0].log_records[0]
    parsed.trace_id, parsed.span_id = ids.get("traceId", b""), ids.get("spanId", b"")
    assert read == encode_logs([log(record)])
    assert isinstance(item["severityNumber"], int)


def test_fields_of_the_journal() -> None:
    found = fields(forms.journal_fields(log(told.outcome())))
    assert found["MESSAGE"] == "fork-storm: freeze done"
    assert (found["PRIORITY"], found["SYSLOG_IDENTIFIER"]) == ("4", "reflexarc")
    assert found["EVENT_NAME"] == events.ACT
    assert (found["TRACE_ID"], found["SPAN_ID"]) == (told.TRACE.hex(), told.SPAN.hex())
    assert found["SECURITY_RULE_NAME"] == "fork-storm"
    assert found["REFLEXARC_ACT"] == "freeze"


SEVERITIES: dict[Severity, str] = {"debug": "7", "info": "6", "warn": "4", "error": "3"}


@pytest.mark.parametrize("severity", SEVERITIES)
def test_severities_are_those_of_syslog(severity: Severity) -> None:
    found = fields(forms.journal_fields(log(Notice(time_ns=1, name="x", severity=severity))))
    assert found["PRIORITY"] == SEVERITIES[severity]


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=90), st.text(max_size=50), max_size=4))
def test_any_text_is_one_record_in_every_form(text: str, attributes: dict[str, str]) -> None:
    notice = Notice(time_ns=1, name="x", text=text, attributes={**attributes})
    made = log(notice)
    assert forms.text(made).count(b"\n") == 1
    assert forms.otlp_json(made).count(b"\n") == 1
    names = fields(forms.journal_fields(made))
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name) for name in names)


def test_a_value_of_several_lines_keeps_them_in_the_journal() -> None:
    assert forms._encoded("A", "one\ntwo") == b"A\n" + struct.pack("<Q", 7) + b"one\ntwo\n"
