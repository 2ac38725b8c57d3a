"""From a journal record to what a log says of it: name, severity, sentence, attributes.

Pure, and free of OpenTelemetry: `logs` turns the result into its data model and makes the values safe.
"""

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, assert_never

from controlplane.link import records
from controlplane.link.container import container_of
from controlplane.link.samples import samples_in
from controlplane.link.signals import unit_in_words
from controlplane.plane.telemetry import events

Severity = Literal["debug", "info", "warn", "error"]
Value = str | int | float | bool

MAX_WALL_NS: Final = 1 << 62
"""In the year 2116; a start later than that is a wrong one."""
_LEFT: Final = {
    "foreign": "left as somebody else set it",
    "shared": "left to another reflex that holds the same",
}
"""Undos that wrote nothing, and why that is right."""


class Event(NamedTuple):
    """What one record says."""

    name: str
    severity: Severity
    body: str
    attributes: dict[str, Value]
    trace_id: bytes = b""
    span_id: bytes = b""
    trace_flags: int = 0


def describe(record: records.Record, wall_offset_ns: int) -> Event:
    """`wall_offset_ns`: wall clock minus CLOCK_MONOTONIC, of the record's segment."""
    match record:
        case records.Finding():
            return _finding(record, wall_offset_ns)
        case records.Intent():
            return _intent(record, wall_offset_ns)
        case records.Outcome():
            return _outcome(record)
        case records.Effect():
            return _effect(record)
        case records.Undo():
            return _undo(record)
        case records.GuardRefused():
            return _refused(record)
        case records.Evidence():
            return _evidence(record)
        case records.Repeated():
            return _repeated(record)
        case records.Lost() | records.Notice() | records.Audit() | records.Diagnostic():
            return _of_the_daemon(record)
        case _:
            assert_never(record)


def describe_gap(count: int) -> Event:
    """Journal records that were dropped before they could be exported."""
    body = f"{count} journal records were dropped before they could be exported"
    return Event(events.JOURNAL_DROPPED, "error", body, {events.COUNT: count})


def describe_undecodable(payload: bytes) -> Event:
    """A journal record this version cannot understand: told as it is."""
    body = f"a journal record of {len(payload)} bytes cannot be understood"
    return Event(events.JOURNAL_UNDECODABLE, "error", body, {events.PAYLOAD: payload.hex()})


def _finding(record: records.Finding, wall_offset_ns: int) -> Event:
    value = f"{record.value:g}{unit_in_words(record.unit)}"
    test = f"{record.test} {record.statistic:g} over {record.threshold:g}"
    body = f"{record.rule}: {record.signal} of {value} in {record.path} ({test})"
    attributes: dict[str, Value] = {
        events.SIGNAL: record.signal,
        events.UNIT: record.unit,
        events.TEST: record.test,
        events.VALUE: record.value,
        events.STATISTIC: record.statistic,
        events.THRESHOLD: record.threshold,
        events.COUNT: record.count,
        events.MODE: record.mode,
        events.DECIDE_NS: record.decided_ns - record.time_ns,
        **_cgroup(record.path, record.cgroup),
        **_process(record.pid, record.start_ns, record.comm, wall_offset_ns),
    }
    if record.repeats:
        body += f", {record.repeats} more since the last finding"
        attributes[events.REPEATS] = record.repeats
    if record.stream:
        attributes[events.STREAM] = record.stream
    if record.culprit:
        attributes |= {events.CULPRIT_ID: record.culprit, events.CULPRIT_PATH: record.culprit_path}
    if record.parent_id:
        attributes[events.PARENT_SPAN_ID] = record.parent_id.hex()
    return _told(record, events.FINDING, "warn", body, attributes)


def _intent(record: records.Intent, wall_offset_ns: int) -> Event:
    verb = "will" if record.mode == "enforce" else "would"
    body = f"{record.rule} {verb} {record.act} {_victim(record.path, record.pid, record.comm)}"
    attributes: dict[str, Value] = {
        events.ACT_NAME: record.act,
        events.STEP: record.step,
        events.MODE: record.mode,
        events.PARENT_SPAN_ID: record.parent_id.hex(),
        events.EVENT_AGE_NS: record.time_ns - record.event_ns,
        **_cgroup(record.path, record.cgroup),
        **_process(record.pid, record.start_ns, record.comm, wall_offset_ns),
    }
    if record.changes:
        attributes[events.PREVIOUS] = ", ".join(f"{each.what}={each.before}" for each in record.changes)
        attributes[events.WRITTEN] = ", ".join(f"{each.what}={each.after}" for each in record.changes)
    if record.actor:
        attributes[events.ACTOR] = record.actor
    if record.until_ns:
        attributes[events.FOR_NS] = record.until_ns - record.time_ns
    return _told(record, events.INTENT, "info", body, attributes)


def _outcome(record: records.Outcome) -> Event:
    detail = f" ({record.detail})" if record.detail else ""
    body = f"{record.rule}: {record.act} {'done' if record.ok else f'failed: {record.error}'}{detail}"
    attributes: dict[str, Value] = {
        events.ACT_NAME: record.act,
        events.EVENT_AGE_NS: record.time_ns - record.event_ns,
        events.DECIDE_NS: record.decided_ns - record.event_ns,
        **_result(ok=record.ok, error=record.error),
    }
    if record.detail:
        attributes[events.DETAIL] = record.detail
    return _told(record, events.ACT, "warn" if record.ok else "error", body, attributes)


def _effect(record: records.Effect) -> Event:
    attributes: dict[str, Value] = {
        events.ACT_NAME: record.act,
        events.EVENT_AGE_NS: record.time_ns - record.event_ns,
    }
    if record.error:
        attributes[events.DETAIL] = record.error
        body = f"{record.rule}: {record.act} was not seen to take effect"
        return _told(record, events.EFFECT, "warn", body, attributes)
    return _told(record, events.EFFECT, "info", f"{record.rule}: {record.act} took effect", attributes)


def _undo(record: records.Undo) -> Event:
    result = _LEFT.get(record.error, "undone") if record.ok else f"not undone: {record.error}"
    body = f"{record.rule}: {record.act} of {_victim(record.path, record.pid)} {result} ({record.reason})"
    attributes: dict[str, Value] = {
        events.ACT_NAME: record.act,
        events.REASON: record.reason,
        events.PARENT_SPAN_ID: record.parent_id.hex(),
        events.EVENT_AGE_NS: record.time_ns - record.event_ns,
        **_cgroup(record.path, record.cgroup),
        **_result(ok=record.ok, error=record.error),
    }
    if record.pid:
        attributes[events.PROCESS_PID] = record.pid
    if record.actor:
        attributes[events.ACTOR] = record.actor
    if record.detail:
        body += f"; {record.detail}"
    if detail := record.detail or (record.error if record.ok else ""):
        attributes[events.DETAIL] = detail
    return _told(record, events.UNDO, "info" if record.ok else "error", body, attributes)


def _refused(record: records.GuardRefused) -> Event:
    detail = f": {record.detail}" if record.detail else ""
    body = f"{record.rule} may not {record.act} {_victim(record.path, record.pid)}: {record.guard}{detail}"
    attributes: dict[str, Value] = {
        events.ACT_NAME: record.act,
        events.GUARD: record.guard,
        events.PARENT_SPAN_ID: record.parent_id.hex(),
        **_cgroup(record.path, 0),
    }
    if record.detail:
        attributes[events.DETAIL] = record.detail
    if record.pid:
        attributes[events.PROCESS_PID] = record.pid
    return _told(record, events.GUARD_REFUSED, "warn", body, attributes)


def _evidence(record: records.Evidence) -> Event:
    """In short: who is suspected, and who else was busy. The records themselves are drawn by `explain`."""
    count = len(samples_in(record.trail))
    body = f"{record.rule}: {count} records of {record.signal} in {record.itself.path} led to this"
    attributes: dict[str, Value] = {
        events.SIGNAL: record.signal,
        events.RECORDS: count,
        events.RECENT: record.itself.recent,
        events.TOTAL: record.itself.total,
    }
    for suspect in record.suspects[:1]:
        who = f"process {suspect.pid} {f'({suspect.comm})' if suspect.comm else ''}".rstrip()
        body += f", {suspect.records} of which name {suspect.path or who}"
        attributes[events.SUSPECT_RECORDS] = suspect.records
        if suspect.cgroup:
            attributes |= {events.CULPRIT_ID: suspect.cgroup, events.CULPRIT_PATH: suspect.path}
        else:
            attributes[events.PROCESS_PID] = suspect.pid
    for rival in record.rivals[:1]:
        attributes |= {events.RIVAL_PATH: rival.path, events.RIVAL_RECENT: rival.recent}
    return _told(record, events.EVIDENCE, "info", body, attributes)


def _repeated(record: records.Repeated) -> Event:
    where = record.path or record.stream
    seconds = record.lasted_ns / 1e9
    body = f"{record.rule}: {record.signal} in {where} fired {record.repeats} times more, for {seconds:.3g} s"
    attributes: dict[str, Value] = {
        events.SIGNAL: record.signal,
        events.REPEATS: record.repeats,
        events.LASTED_NS: record.lasted_ns,
        **_cgroup(record.path, record.cgroup),
    }
    if record.stream:
        attributes[events.STREAM] = record.stream
    return _told(record, events.REPEATED, "warn", body, attributes)


def _of_the_daemon(
    record: records.Lost | records.Notice | records.Audit | records.Diagnostic,
) -> Event:
    """What belongs to no reflex."""
    match record:
        case records.Lost():
            return _lost(record)
        case records.Notice():
            text = record.text or record.name
            named: dict[str, Value] = {events.PREFIX + key: value for key, value in record.attributes.items()}
            return Event(events.PREFIX + record.name, record.severity, text, named)
        case records.Audit(call=call):
            return _audit(call)
        case records.Diagnostic(said=said):
            return describe_said(said)
        case _:
            assert_never(record)


def describe_said(said: records.Said) -> Event:
    """A line of the plane's log."""
    attributes: dict[str, Value] = {events.LOGGER: said.logger}
    if said.error:
        attributes |= {
            events.EXCEPTION_TYPE: said.error,
            events.EXCEPTION_MESSAGE: said.message,
            events.EXCEPTION_STACKTRACE: said.trace,
        }
    return Event(events.DIAGNOSTIC, said.severity, said.text, attributes)


def _lost(record: records.Lost) -> Event:
    body = f"{record.count} events of sensor {record.sensor} were lost: {record.reason}"
    attributes: dict[str, Value] = {
        events.SENSOR: record.sensor,
        events.REASON: record.reason,
        events.COUNT: record.count,
    }
    return Event(events.EVENTS_LOST, "warn", body, attributes)


def _audit(call: records.Call) -> Event:
    who = call.identity or "somebody unknown"
    where = f" at {call.origin}" if call.origin else ""
    method = call.method.rpartition("/")[2] or "a connection"
    detail = f": {call.detail}" if call.detail else ""
    times = f", one of {call.count}" if call.count > 1 else ""
    body = f"{method} by {who}{where} {call.outcome}{detail}{times}"
    named: dict[str, Value] = {
        events.USER_ID: call.identity,
        events.ROLE: call.role,
        events.RPC_METHOD: call.method.removeprefix("/"),
        events.RPC_STATUS: call.code,
        events.NETWORK_PEER: call.origin,
        events.REQUEST: call.what,
        events.REQUEST_ID: call.request_id,
        events.DETAIL: call.detail,
    }
    attributes = {name: value for name, value in named.items() if value}
    attributes |= {events.OUTCOME: call.outcome, events.COUNT: call.count}
    return Event(events.AUDIT, "info" if call.outcome in ("begun", "done") else "warn", body, attributes)


_InRule = (
    records.Finding
    | records.Intent
    | records.Outcome
    | records.Effect
    | records.Undo
    | records.GuardRefused
    | records.Evidence
    | records.Repeated
)


def _told(record: _InRule, name: str, severity: Severity, body: str, attributes: dict[str, Value]) -> Event:
    named: dict[str, Value] = {events.RULE_NAME: record.rule, **attributes}
    return Event(name, severity, body, named, record.trace_id, record.span_id, record.trace_flags)


def _result(*, ok: bool, error: str) -> dict[str, Value]:
    return {events.OUTCOME: "ok"} if ok else {events.OUTCOME: "error", events.ERROR_TYPE: error or "_OTHER"}


def _victim(path: str, pid: int, comm: str = "") -> str:
    return f"process {pid} {f'({comm}) ' if comm else ''}in {path}" if pid else path


def _process(pid: int, start_ns: int, comm: str, wall_offset_ns: int) -> dict[str, Value]:
    """With the time the machine slept taken as none, as the journal does not know it."""
    if not pid:
        return {}
    named: dict[str, Value] = {events.PROCESS_PID: pid, events.PROCESS_START: start_ns}
    if comm:
        named[events.PROCESS_EXECUTABLE_NAME] = comm
    if start_ns and 0 <= (wall_ns := start_ns + wall_offset_ns) < MAX_WALL_NS:
        created = datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        named[events.PROCESS_CREATION_TIME] = created.replace("+00:00", "Z")
    return named


def _cgroup(path: str, cgroup: int) -> dict[str, Value]:
    """The cgroup, and the container and pod in whose path it lies."""
    named: dict[str, Value] = {}
    if path:
        named[events.PROCESS_CGROUP] = path
    if cgroup:
        named[events.CGROUP_ID] = cgroup
    within = container_of(path)
    if within.container_id:
        named[events.CONTAINER_ID] = within.container_id
    if within.pod_uid:
        named[events.POD_UID] = within.pod_uid
    return named
