"""Values for machines, tables and durations for people."""

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.cli import show
from controlplane.wire import management_pb2 as pb


def test_numbers_stay_numbers_and_absence_is_null() -> None:
    act = pb.ActInForce(victim=pb.Victim(cgroup=2**63), since=Timestamp(seconds=1))
    value = show.plain(act)
    assert value["victim"]["cgroup"] == 2**63
    assert (value["since"], value["until"]) == ("1970-01-01T00:00:01Z", None)
    assert json.loads(json.dumps(value)) == value


def test_a_oneof_shows_the_one_that_is_set_and_optional_what_is_there() -> None:
    assert set(show.plain(pb.WatchResponse(loss=pb.Loss()))) == {"uid", "time", "loss"}
    assert "since_event_ns" not in show.plain(pb.ReflexStep())
    assert show.plain(pb.ReflexStep(since_event_ns=0))["since_event_ns"] == 0


def test_enums_are_words() -> None:
    step = show.plain(pb.ReflexStep(kind=pb.ReflexStep.KIND_REFUSED, mode=pb.MODE_ENFORCE))
    assert (step["kind"], step["mode"]) == ("refused", "enforce")
    assert show.mode_number("off") == pb.MODE_OFF


def test_a_table_has_numbers_to_the_right() -> None:
    assert show.table(("NAME", "COUNT"), [("a", 1), ("bb", 1_000)]).splitlines() == [
        "NAME  COUNT",
        "a         1",
        "bb    1,000",
    ]
    assert show.table(("NAME", "COUNT"), []) == "NAME  COUNT"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0ns"),
        (17, "17ns"),
        (1_500, "1.5us"),
        (250_000_000, "250ms"),
        (10_000_000_000, "10s"),
        (90_000_000_000, "1.5m"),
        (61_000_000_000, "61s"),
        (1_234_567, "1234567ns"),
    ],
)
def test_durations_are_exact(nanoseconds: int, text: str) -> None:
    assert show.duration(nanoseconds) == text
