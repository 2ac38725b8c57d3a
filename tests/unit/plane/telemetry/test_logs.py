"""The data model in full, and values that no encoder would take."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from controlplane.link.records import ENCODER, Notice, Record
from controlplane.link.segment import Entry, Header
from controlplane.plane.journal import Gap, Stored
from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.describe import describe
from controlplane.plane.telemetry.logs import MAX_TEXT, Logs, node_resource, safe, safe_attributes, safe_text
from tests.plane.sink import attributes_of, records_of
from tests.unit.plane import told

OFFSET = 1_700_000_000_000_000_000
HEADER = Header(segment=5, instance=0xABC, first_index=0, wall_offset_ns=OFFSET, boot_id=bytes(16))
OBSERVED = OFFSET + 99


def stored(record: Record, index: int = 3) -> Stored:
    return Stored(HEADER, Entry(index, ENCODER.encode(record), 0))


def encoded(item: Stored | Gap) -> LogRecord:
    log = Logs({"service.name": "s"}).make(item, OBSERVED)
    assert log is not None
    (record,) = records_of(encode_logs([log]))
    return LogRecord.FromString(record.SerializeToString())


def test_every_field_is_set() -> None:
    record = encoded(stored(told.outcome()))
    assert record.time_unix_nano == OFFSET + told.EVENT_NS + 55_000
    assert record.observed_time_unix_nano == OBSERVED
    assert (record.severity_text, record.severity_number) == ("WARN", 13)
    assert record.body.string_value == "fork-storm: freeze done"
    assert record.event_name == "reflexarc.reflex.act"
    assert (record.trace_id, record.span_id, record.flags) == (told.TRACE, told.SPAN, 1)
    attributes = attributes_of(record)
    assert attributes[events.LOG_RECORD_UID] == "0000000000000abc-3"
    assert attributes[events.RULE_NAME] == "fork-storm"


def test_resource_and_scope_have_their_schemas() -> None:
    log = Logs({"service.name": "s"}).make(stored(told.finding()), OBSERVED)
    assert log is not None
    (resource,) = encode_logs([log]).resource_logs
    found = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert found == {"service.instance.id": "0000000000000abc", "service.name": "s"}
    assert resource.schema_url == events.SCHEMA_URL
    (scope,) = resource.scope_logs
    assert (scope.scope.name, scope.schema_url) == (events.SCOPE_NAME, events.SCOPE_SCHEMA_URL)


def test_a_record_without_a_trace_has_none() -> None:
    record = encoded(stored(Notice(time_ns=1, name="x")))
    assert (record.trace_id, record.span_id, record.flags) == (b"", b"", 0)


def test_a_carried_intent_is_not_told_twice() -> None:
    assert Logs({}).make(stored(told.intent(carried=True)), OBSERVED) is None


def test_a_gap_is_told_under_an_identity_of_its_own() -> None:
    record = encoded(Gap(stored(told.finding()), 17))
    assert attributes_of(record) == {events.LOG_RECORD_UID: "0000000000000abc-3-gap", events.COUNT: 17}
    assert record.time_unix_nano == OBSERVED


@given(st.binary(max_size=300))
def test_any_bytes_become_a_log(payload: bytes) -> None:
    record = encoded(Stored(HEADER, Entry(1, payload, 0)))
    assert record.event_name == events.JOURNAL_UNDECODABLE
    assert attributes_of(record)[events.PAYLOAD] == payload.hex()


VALUES = st.one_of(
    st.text(max_size=100),
    st.text(st.characters(categories=["Cs", "Cc"]), max_size=20),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
)


@given(st.dictionaries(st.text(st.characters(), max_size=20), VALUES, max_size=8))
def test_any_value_survives_the_encoder(values: dict[str, str | int | float | bool]) -> None:
    log = Logs(values).make(stored(told.finding()), OBSERVED)
    assert log is not None
    request = encode_logs([log])
    found = {item.key for item in request.resource_logs[0].resource.attributes}
    assert found == safe_attributes(values).keys() | {"service.instance.id"}
    assert request.SerializeToString()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (True, True),
        ("one\ntwo\r\x00\x1b[31m", "one\\ntwo\\r\\x00\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ("caf\u00e9 \u2028", "caf\u00e9 \\u2028"),
    ],
)
def test_values_are_made_safe(value: str | float, expected: str | float) -> None:
    assert safe(value) == expected
    assert type(safe(value)) is type(expected)


@given(st.text(max_size=3000))
def test_a_safe_text_is_one_line_of_bounded_length_and_stays_as_it_is(text: str) -> None:
    made = safe_text(text)
    assert len(made.splitlines()) <= 1
    assert len(made) <= 10 * MAX_TEXT
    assert made.encode().decode() == made
    if text.isprintable() and len(text) <= MAX_TEXT:
        assert made == text


@pytest.mark.parametrize("one", ["x", "\n", "\udcff", "\U0001f980"])
def test_ten_megabytes_are_cut_before_they_are_looked_at(one: str) -> None:
    notice = Notice(time_ns=1, name=one * 100, text=one * 10_000_000, attributes={one * 50: one * 10_000_000})
    event = describe(notice, OFFSET)
    log = Logs({}).of(event, "uid", OFFSET, OBSERVED)
    (record,) = records_of(encode_logs([log]))
    assert record.ByteSize() < 64 * 1024
    assert record.body.string_value.endswith("…".encode().decode())


def test_a_name_of_several_lines_is_told_on_one() -> None:
    odd = msgspec.structs.replace(told.finding(), comm="a\nb", path="/x\ny", rule="r\r")
    record = encoded(stored(odd))
    found = attributes_of(record)
    assert found[events.PROCESS_EXECUTABLE_NAME] == "a\\nb"
    assert found[events.PROCESS_CGROUP] == "/x\\ny"
    assert "\n" not in record.body.string_value


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.integers(0, 2**64 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_any_finding_is_one_record(time_ns: int, value: float, cgroup: int, name: str) -> None:
    odd = msgspec.structs.replace(
        told.finding(), time_ns=time_ns, value=value, statistic=value, cgroup=cgroup, comm=name, path=name
    )
    record = encoded(stored(odd))
    assert record.event_name == events.FINDING
    assert attributes_of(record)[events.CGROUP_ID] in (cgroup, str(cgroup)) if cgroup else True


def test_times_outside_of_the_field_are_held_at_its_ends() -> None:
    early = encoded(stored(Notice(time_ns=-(2**62) - OFFSET, name="x")))
    late = encoded(stored(Notice(time_ns=2**63 - 1, name="x")))
    assert (early.time_unix_nano, late.time_unix_nano) == (0, 2**63 - 1)


def test_a_process_that_started_at_no_possible_time_is_told_without_it() -> None:
    odd = msgspec.structs.replace(told.finding(), start_ns=2**63 - 1)
    assert events.PROCESS_CREATION_TIME not in attributes_of(encoded(stored(odd)))


def test_the_operators_attributes_replace_our_own() -> None:
    resource = node_resource({"service.name": "mine", "k8s.node.name": "n1"})
    assert resource["service.name"] == "mine"
    assert resource["k8s.node.name"] == "n1"
    assert resource["os.type"] == "linux"
