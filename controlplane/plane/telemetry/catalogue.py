"""What each event and each attribute of the logs means: the table behind docs/events.md.

Says nothing of how a record is made: that is `describe`. A test holds the two together.
"""

from typing import Final, Literal, NamedTuple

from controlplane.plane.telemetry import events

Type = Literal["string", "int", "double", "boolean"]


class Attribute(NamedTuple):
    """One attribute, wherever it appears."""

    name: str
    type: Type
    unit: str
    """As in UCUM; empty for names and texts."""
    example: str | int | float
    meaning: str


class EventKind(NamedTuple):
    """One event name."""

    name: str
    severity: str
    when: str
    attributes: tuple[str, ...]
    """Besides `log.record.uid`, which all have."""


ATTRIBUTES: Final = (
    Attribute(
        events.LOG_RECORD_UID, "string", "", "17d3f2a94c1b0e55-42", "the record, however often it is sent"
    ),
    Attribute(events.RULE_NAME, "string", "", "fork-storm", "policy"),
    Attribute(events.PROCESS_PID, "int", "", 4242, "process, in the node's own pid namespace"),
    Attribute(
        events.PROCESS_CREATION_TIME,
        *("string", "", "2026-11-24T10:14:19.730Z"),
        "its start; wrong by the time the machine slept since it was booted",
    ),
    Attribute(
        events.PROCESS_EXECUTABLE_NAME, "string", "", "stress-ng", "its name in the kernel, 15 bytes at most"
    ),
    Attribute(
        events.PROCESS_CGROUP, "string", "", "/kubepods.slice/kubepods-pod0f4e.slice", "path of its cgroup"
    ),
    Attribute(events.CONTAINER_ID, "string", "", "ab" * 32, "container in which the cgroup lies"),
    Attribute(events.POD_UID, "string", "", "0f4e2cb8-0d8e-4d0a-9d75-5a5d4e2f3a10", "pod in which it lies"),
    Attribute(
        events.ERROR_TYPE, "string", "", "No such process", "why something failed; `_OTHER` where unknown"
    ),
    Attribute(events.EXCEPTION_TYPE, "string", "", "ValueError", "of a failure that nobody expected"),
    Attribute(events.EXCEPTION_MESSAGE, "string", "", "bad frame", "its text"),
    Attribute(events.EXCEPTION_STACKTRACE, "string", "", "Traceback ...", "where it came from"),
    Attribute(events.PARENT_SPAN_ID, "string", "", "00f067aa0ba902b7", "span that this one is a child of"),
    Attribute(
        events.PROCESS_START,
        *("int", "ns", 918_273_645_546),
        "start of the process since boot: with the pid, exactly that process",
    ),
    Attribute(events.CGROUP_ID, "int", "", 77, "cgroup, as in the kernel"),
    Attribute(events.CULPRIT_ID, "int", "", 91, "cgroup that is suspected of it"),
    Attribute(events.CULPRIT_PATH, "string", "", "/hog", "its path"),
    Attribute(events.SIGNAL, "string", "", "process.fork", "what was felt"),
    Attribute(events.STREAM, "string", "", "8:0 write", "what the stream is kept by where that is no cgroup"),
    Attribute(events.UNIT, "string", "", "1", "unit of the value"),
    Attribute(events.TEST, "string", "", "rate", "test that fired"),
    Attribute(events.VALUE, "double", "reflexarc.unit", 5120.0, "value that fired"),
    Attribute(events.STATISTIC, "double", "of the test", 12.5, "where the test stood"),
    Attribute(events.THRESHOLD, "double", "of the test", 8.0, "above this it fires"),
    Attribute(
        events.COUNT, "int", "1", 64, "kernel events that were lost, or what else the record stands for"
    ),
    Attribute(events.REPEATS, "int", "1", 117, "records that fired since the last finding and were not told"),
    Attribute(
        events.LASTED_NS, "int", "ns", 2500000000, "from the last finding to the last of those records"
    ),
    Attribute(events.MODE, "string", "", "enforce", "`enforce`, or `observe`: only told"),
    Attribute(events.ACT_NAME, "string", "", "freeze", "act"),
    Attribute(events.STEP, "int", "", 0, "step of the ladder, from 0"),
    Attribute(
        events.OUTCOME, "string", "", "ok", "`ok` or `error`; of a call `begun`, `done`, `failed`, `refused`"
    ),
    Attribute(
        events.PREVIOUS, "string", "", "cpu.weight=100", "what was set before; the undo writes it back"
    ),
    Attribute(events.WRITTEN, "string", "", "cpu.weight=10", "what is set now"),
    Attribute(events.FOR_NS, "int", "ns", 30_000_000_000, "after so long it undoes itself"),
    Attribute(events.EVENT_AGE_NS, "int", "ns", 55_000, "from the kernel event to this"),
    Attribute(events.DECIDE_NS, "int", "ns", 41_000, "from the kernel event to the decision"),
    Attribute(events.REASON, "string", "", "timer", "why it was undone, or lost"),
    Attribute(events.ACTOR, "string", "", "uid:1000", "who asked for it"),
    Attribute(events.GUARD, "string", "", "protected", "guard that forbade it"),
    Attribute(events.DETAIL, "string", "", "psi.memory does not confirm it", "more about it"),
    Attribute(events.SENSOR, "string", "", "process", "sensor"),
    Attribute(events.RECORDS, "int", "1", 32, "records of the stream that led to the finding"),
    Attribute(events.RECENT, "int", "1", 255, "kernel events told of in the ten seconds before"),
    Attribute(events.TOTAL, "int", "1", 40_255, "kernel events of the stream so far"),
    Attribute(events.SUSPECT_RECORDS, "int", "1", 18, "records that name whoever is suspected"),
    Attribute(events.RIVAL_PATH, "string", "", "/builds", "the busiest other stream of the signal"),
    Attribute(events.RIVAL_RECENT, "int", "1", 64, "its kernel events in the same time"),
    Attribute(events.PAYLOAD, "string", "", "81a4", "bytes of the record, in hexadecimal digits"),
    Attribute(events.TOOK_MS, "int", "ms", 74, "how long it took"),
    Attribute(events.UNDONE, "int", "1", 2, "acts taken back"),
    Attribute(events.USER_ID, "string", "", "spiffe://example.org/oncall", "who called"),
    Attribute(events.ROLE, "string", "", "operator", "what that one is trusted with"),
    Attribute(events.RPC_METHOD, "string", "", "reflexarc.v1.Management/SetMode", "what was called"),
    Attribute(events.RPC_STATUS, "string", "", "PERMISSION_DENIED", "how the call ended"),
    Attribute(events.NETWORK_PEER, "string", "", "ipv4:192.0.2.7:50123", "from where"),
    Attribute(events.REQUEST, "string", "", "mode=MODE_OFF", "the request in short"),
    Attribute(events.REQUEST_ID, "string", "", "5705e59acfb2a071", "the call, as its answer names it, too"),
    Attribute(events.LOGGER, "string", "", "reflexarc.plane", "part of the plane that says it"),
)

_PROCESS = (
    events.PROCESS_PID,
    events.PROCESS_CREATION_TIME,
    events.PROCESS_EXECUTABLE_NAME,
    events.PROCESS_START,
)
_CGROUP = (events.PROCESS_CGROUP, events.CGROUP_ID, events.CONTAINER_ID, events.POD_UID)

EVENTS: Final = (
    EventKind(
        events.FINDING,
        "WARN",
        "a test fired; the root of its trace",
        (
            *(events.RULE_NAME, events.SIGNAL, events.UNIT, events.TEST, events.VALUE, events.STATISTIC),
            *(events.THRESHOLD, events.COUNT, events.REPEATS, events.MODE, events.DECIDE_NS, events.STREAM),
            *(events.CULPRIT_ID, events.CULPRIT_PATH, events.PARENT_SPAN_ID, *_CGROUP, *_PROCESS),
        ),
    ),
    EventKind(
        events.REPEATED,
        "WARN",
        "a storm of findings is over: how often its stream fired since the last one; in the span of that one",
        (
            *(events.RULE_NAME, events.SIGNAL, events.REPEATS, events.LASTED_NS, events.STREAM),
            *_CGROUP,
        ),
    ),
    EventKind(
        events.EVIDENCE,
        "INFO",
        "what led to a finding; in the span of the finding",
        (
            *(events.RULE_NAME, events.SIGNAL, events.RECORDS, events.RECENT, events.TOTAL),
            *(events.SUSPECT_RECORDS, events.CULPRIT_ID, events.CULPRIT_PATH, events.PROCESS_PID),
            *(events.RIVAL_PATH, events.RIVAL_RECENT),
        ),
    ),
    EventKind(
        events.INTENT,
        "INFO",
        "an act is about to be tried, or with mode `observe` would have been",
        (
            *(events.RULE_NAME, events.ACT_NAME, events.STEP, events.MODE, events.PARENT_SPAN_ID),
            *(events.EVENT_AGE_NS, events.PREVIOUS, events.WRITTEN, events.FOR_NS, events.ACTOR),
            *(*_CGROUP, *_PROCESS),
        ),
    ),
    EventKind(
        events.ACT,
        "WARN, ERROR where it failed",
        "the act's system calls have returned, or the child that did it has ended; in the span of the intent",
        (
            *(events.RULE_NAME, events.ACT_NAME, events.OUTCOME, events.ERROR_TYPE, events.DETAIL),
            *(events.EVENT_AGE_NS, events.DECIDE_NS),
        ),
    ),
    EventKind(
        events.EFFECT,
        "INFO, WARN where it was not seen",
        "the kernel has confirmed the act, or has not in 5 s; in the span of the intent",
        (events.RULE_NAME, events.ACT_NAME, events.EVENT_AGE_NS, events.DETAIL),
    ),
    EventKind(
        events.UNDO,
        "INFO, ERROR where it failed",
        "an act was taken back; child of the intent's span",
        (
            *(events.RULE_NAME, events.ACT_NAME, events.REASON, events.OUTCOME, events.ERROR_TYPE),
            *(events.DETAIL, events.ACTOR, events.PARENT_SPAN_ID, events.EVENT_AGE_NS),
            *(*_CGROUP, events.PROCESS_PID),
        ),
    ),
    EventKind(
        events.GUARD_REFUSED,
        "WARN",
        "a guard has forbidden an act",
        (
            *(events.RULE_NAME, events.ACT_NAME, events.GUARD, events.DETAIL, events.PARENT_SPAN_ID),
            *(events.PROCESS_CGROUP, events.CONTAINER_ID, events.POD_UID, events.PROCESS_PID),
        ),
    ),
    EventKind(
        events.EVENTS_LOST,
        "WARN",
        "events were felt and could not be handed over",
        (events.SENSOR, events.REASON, events.COUNT),
    ),
    EventKind(
        events.JOURNAL_DROPPED,
        "ERROR",
        "journal records had to be dropped before they were exported",
        (events.COUNT,),
    ),
    EventKind(
        events.JOURNAL_UNDECODABLE,
        "ERROR",
        "a journal record is of another version, or damaged",
        (events.PAYLOAD,),
    ),
    EventKind(
        events.ARC_ARMED, "INFO", "from here on findings are acted upon", (events.TOOK_MS, events.MODE)
    ),
    EventKind(events.ARC_RECOVERED, "WARN", "acts of a dead predecessor were taken back", (events.UNDONE,)),
    EventKind(
        events.ARC_NOT_REALTIME, "WARN", "the arc runs without real-time priority or locked memory", ()
    ),
    EventKind(events.ARC_STOPPED, "INFO", "the arc stops", ()),
    EventKind(events.PLANE_RESTARTED, "WARN", "the plane had died", ()),
    EventKind(events.SENSOR_DISABLED, "WARN", "a sensor cannot be loaded or attached", ()),
    EventKind(events.BASELINES_UNREADABLE, "WARN", "what streams had learned is lost", ()),
    EventKind(events.MESSAGES_ENCODED, "INFO", "steps that act on networks may act from now on", ()),
    EventKind(events.MESSAGES_FAILED, "ERROR", "messages to the kernel's network could not be prepared", ()),
    EventKind(
        events.STREAM_ADAPTED,
        "INFO",
        "a change has lasted and is now what is usual",
        (events.SIGNAL, events.STREAM),
    ),
    EventKind(events.POLICY_RELOADED, "INFO", "policy files have changed and are in force", ()),
    EventKind(
        events.POLICY_REJECTED, "ERROR", "policy files have changed and are wrong: the old ones stay", ()
    ),
    EventKind(events.POLICY_APPLIED, "INFO", "a policy was applied over the API", (events.ACTOR,)),
    EventKind(events.POLICY_DELETED, "INFO", "a policy was deleted over the API", (events.ACTOR,)),
    EventKind(events.POLICY_MODE_CHANGED, "INFO", "the mode of a policy was set", (events.ACTOR,)),
    EventKind(events.MODE_CHANGED, "INFO", "the mode of the node was set", (events.ACTOR,)),
    EventKind(
        events.BREAKER_OPENED,
        "ERROR",
        "a policy, or all of the node, did too much that cannot be undone, and may only observe",
        (),
    ),
    EventKind(events.SENSOR_SHED, "WARN", "the arc used too much CPU, and feels by one sensor less", ()),
    EventKind(events.SENSOR_RESTORED, "INFO", "there is room again for a sensor that was shed", ()),
    EventKind(events.BREAKER_CLOSED, "INFO", "a breaker was closed, with a new budget", (events.ACTOR,)),
    EventKind(
        events.AUDIT,
        "INFO, WARN where it was refused or failed",
        "a call that changes something: before, and how it went; or one that was refused",
        (
            *(events.USER_ID, events.ROLE, events.RPC_METHOD, events.RPC_STATUS, events.NETWORK_PEER),
            *(events.REQUEST, events.REQUEST_ID, events.DETAIL, events.OUTCOME, events.COUNT),
        ),
    ),
    EventKind(events.AUDIT_DROPPED, "WARN", "there were too many calls to journal them all", (events.COUNT,)),
    EventKind(events.TLS_ROTATED, "INFO", "new certificates are served with", ()),
    EventKind(events.TLS_REFUSED, "WARN", "certificates have changed and are no good: the old ones stay", ()),
    EventKind(
        events.DIAGNOSTIC,
        "DEBUG to ERROR",
        "the plane about itself, from `--log-level` on",
        (
            *(events.LOGGER, events.EXCEPTION_TYPE, events.EXCEPTION_MESSAGE),
            events.EXCEPTION_STACKTRACE,
        ),
    ),
    EventKind(
        events.DIAGNOSTICS_DROPPED,
        "WARN",
        "the plane had too much to say of itself to journal it all",
        (events.COUNT,),
    ),
)
