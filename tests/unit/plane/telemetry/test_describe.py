"""What is said of each kind of record."""

import msgspec
import pytest

from controlplane.link import records
from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.describe import describe, describe_gap
from tests.unit.plane import told

OFFSET = 1_700_000_000_000_000_000
UID = "0f4e2cb8-0d8e-4d0a-9d75-5a5d4e2f3a10"
HEX = "ab" * 32


def test_a_reflex_is_told_from_finding_to_undo() -> None:
    said = [describe(record, OFFSET) for record in told.reflex()]
    assert [event.name for event in said] == [
        events.FINDING,
        events.INTENT,
        events.ACT,
        events.EFFECT,
        events.UNDO,
    ]
    assert [event.body for event in said] == [
        "fork-storm: process.fork of 812 in /storm (rate 812 over 500)",
        "fork-storm will freeze /storm",
        "fork-storm: freeze done",
        "fork-storm: freeze took effect",
        "fork-storm: freeze of /storm undone (timer)",
    ]
    assert {event.trace_id for event in said} == {told.TRACE}
    assert [event.attributes.get(events.EVENT_AGE_NS) for event in said] == [
        None,
        45_000,
        55_000,
        80_000,
        10_000_000_000,
    ]


def test_what_was_there_and_what_is_set_are_attributes() -> None:
    attributes = describe(told.intent(), OFFSET).attributes
    assert attributes[events.PREVIOUS] == "cgroup.freeze=0"
    assert attributes[events.WRITTEN] == "cgroup.freeze=1"


def test_in_observe_mode_it_says_would() -> None:
    assert describe(told.intent(mode="observe"), OFFSET).body == "fork-storm would freeze /storm"


def test_a_process_has_its_identity_and_its_start_on_the_wall_clock() -> None:
    attributes = describe(told.finding(), OFFSET).attributes
    assert attributes[events.PROCESS_PID] == 1234
    assert attributes[events.PROCESS_START] == 77
    assert attributes[events.PROCESS_EXECUTABLE_NAME] == "sh"
    assert attributes[events.PROCESS_CREATION_TIME] == "2023-11-14T22:13:20.000Z"


def test_an_undo_says_what_there_is_to_say() -> None:
    event = describe(msgspec.structs.replace(told.undo(), detail="forks denied: 12"), OFFSET)
    assert event.body == "fork-storm: freeze of /storm undone (timer); forks denied: 12"
    assert event.attributes[events.DETAIL] == "forks denied: 12"


@pytest.mark.parametrize(
    ("path", "container", "pod"),
    [
        (f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{HEX}.scope", HEX, UID),
        (f"/kubepods.slice/kubepods-besteffort-pod{UID.replace('-', '_')}.slice", None, UID),
        ("/system.slice/ssh.service", None, None),
        (f"/docker/{HEX}", HEX, None),
    ],
)
def test_container_and_pod_are_told_where_there_are_any(
    path: str, container: str | None, pod: str | None
) -> None:
    refused = records.GuardRefused(
        time_ns=1,
        trace_id=told.TRACE,
        span_id=told.SPAN,
        parent_id=told.ROOT,
        rule="r",
        act="kill",
        guard="protected",
        path=path,
    )
    attributes = describe(refused, OFFSET).attributes
    assert attributes.get(events.CONTAINER_ID) == container
    assert attributes.get(events.POD_UID) == pod


def test_a_refusal_names_the_guard_and_what_is_missing() -> None:
    why = "psi.memory does not confirm it"
    refused = msgspec.structs.replace(told.refused(), guard="unconfirmed", detail=why)
    event = describe(refused, OFFSET)
    assert event.name == events.GUARD_REFUSED
    assert (event.attributes[events.GUARD], event.attributes[events.DETAIL]) == ("unconfirmed", why)
    assert event.body.endswith(f"unconfirmed: {why}")


def test_failure_and_loss_are_not_quiet() -> None:
    failed = records.Outcome(
        time_ns=1,
        trace_id=told.TRACE,
        span_id=told.SPAN,
        rule="r",
        act="kill",
        ok=False,
        error="ESRCH",
        event_ns=0,
        decided_ns=0,
    )
    event = describe(failed, OFFSET)
    assert (event.severity, event.attributes[events.ERROR_TYPE]) == ("error", "ESRCH")
    lost = describe(records.Lost(time_ns=1, sensor="cpu", reason="ring", count=9), OFFSET)
    assert (lost.severity, lost.attributes[events.COUNT]) == ("warn", 9)
    assert describe_gap(3).severity == "error"


def test_a_notice_keeps_its_name_and_attributes() -> None:
    event = describe(
        records.Notice(time_ns=1, name="arc.armed", severity="debug", attributes={"ms": 3}), OFFSET
    )
    assert event.name == "reflexarc.arc.armed"
    assert event.attributes == {"reflexarc.ms": 3}
    assert event.body == "arc.armed"


@pytest.mark.parametrize(("why", "said"), [("foreign", "somebody else"), ("shared", "another reflex")])
def test_an_undo_that_rightly_wrote_nothing_says_why(why: str, said: str) -> None:
    event = describe(msgspec.structs.replace(told.undo(), error=why), OFFSET)
    assert said in event.body
    assert (event.severity, event.attributes[events.DETAIL]) == ("info", why)


def test_evidence_is_told_in_short() -> None:
    said = describe(told.evidence(), OFFSET)
    assert (said.name, said.severity) == (events.EVIDENCE, "info")
    assert said.body == (
        "fork-storm: 8 records of process.fork in /storm led to this, 8 of which name process 1200 (sh)"
    )
    assert said.attributes == {
        events.RULE_NAME: "fork-storm",
        events.SIGNAL: "process.fork",
        events.RECORDS: 8,
        events.RECENT: 255,
        events.TOTAL: 40_255,
        events.SUSPECT_RECORDS: 8,
        events.PROCESS_PID: 1200,
        events.RIVAL_PATH: "/builds",
        events.RIVAL_RECENT: 64,
    }
    assert said.trace_id == told.TRACE


def test_evidence_names_a_suspected_cgroup_as_the_culprit() -> None:
    suspect = records.Suspect(7, "/hog", 0, "", 5)
    said = describe(msgspec.structs.replace(told.evidence(), suspects=(suspect,)), OFFSET)
    assert said.body.endswith("5 of which name /hog")
    assert said.attributes[events.CULPRIT_PATH] == "/hog"
