"""Records of every kind that the arc journals, with all that each can say."""

import msgspec

from controlplane.link.records import Audit, Call, Diagnostic, Lost, Notice, Record, Said, Suspect
from tests.plane.writer import finding
from tests.unit.plane import told

_FOUND = msgspec.structs.replace(
    finding(),
    repeats=117,
    stream="8:0 write",
    culprit=91,
    culprit_path="/hog",
    parent_id=b"\7" * 8,
    mode="enforce",
)
_PATH = _FOUND.path
_WHO = {"path": _PATH, "pid": 4242}
_PROCESS = {**_WHO, "cgroup": 77, "start_ns": 9_000, "comm": "stress"}
_NOTICES: dict[str, dict[str, str | int | float | bool]] = {
    "arc.armed": {"took_ms": 74, "mode": "observe"},
    "arc.recovered": {"undone": 2},
    "arc.not_realtime": {},
    "arc.stopped": {},
    "plane.restarted": {},
    "sensor.disabled": {},
    "baselines.unreadable": {},
    "messages.encoded": {},
    "messages.failed": {},
    "stream.adapted": {"signal": "cpu.runq_delay", "stream": "/web"},
    "policy.reloaded": {},
    "policy.rejected": {},
    "policy.applied": {"actor": "uid:1000"},
    "policy.deleted": {"actor": "uid:1000"},
    "policy.mode_changed": {"actor": "uid:1000"},
    "mode.changed": {"actor": "uid:1000"},
    "breaker.opened": {},
    "sensor.shed": {},
    "sensor.restored": {},
    "breaker.closed": {"actor": "uid:1000"},
    "tls.rotated": {},
    "tls.refused": {},
    "audit.dropped": {"count": 3},
    "plane.diagnostics_dropped": {"count": 3},
}
_CALL = Call(
    outcome="done",
    request_id="5705e59acfb2a071",
    method="/reflexarc.v1.Management/SetMode",
    what="mode=MODE_OFF",
    identity="spiffe://example.org/oncall",
    role="operator",
    origin="ipv4:192.0.2.7:50123",
    code="OK",
    detail="as it was said",
)
_SAID = Said(
    severity="error",
    logger="reflexarc.plane",
    text="it went wrong",
    error="ValueError",
    message="bad frame",
    trace="Traceback ...",
)
_FAILED = ("policy.rejected", "messages.failed", "breaker.opened")
_WARNED = (
    "sensor.shed",
    "arc.recovered",
    "arc.not_realtime",
    "plane.restarted",
    "sensor.disabled",
    "baselines.unreadable",
    "tls.refused",
    "audit.dropped",
    "plane.diagnostics_dropped",
)

EVERY: tuple[Record, ...] = (
    _FOUND,
    msgspec.structs.replace(told.repeated(), path=_PATH),
    msgspec.structs.replace(told.repeated(), cgroup=0, path="", stream="8:0 write"),
    told.evidence(),
    msgspec.structs.replace(told.evidence(), suspects=(Suspect(91, "/hog", 0, "", 3),)),
    msgspec.structs.replace(told.intent(), **_PROCESS, actor="unix:admin"),
    msgspec.structs.replace(told.intent(), **_PROCESS, actor="unix:admin", trace_flags=2),
    told.outcome(),
    msgspec.structs.replace(told.outcome(), ok=False, error="No such process", detail="seen by a child"),
    told.effect(),
    msgspec.structs.replace(told.effect(), error="unseen"),
    msgspec.structs.replace(told.undo(), **_WHO, error="foreign", actor="uid:1000"),
    msgspec.structs.replace(told.undo(), ok=False, error="Permission denied"),
    msgspec.structs.replace(told.refused(), **_WHO),
    Lost(time_ns=told.EVENT_NS, sensor="process", reason="ring", count=9),
    Diagnostic(time_ns=told.EVENT_NS, said=_SAID),
    Audit(time_ns=told.EVENT_NS, call=_CALL),
    Audit(time_ns=told.EVENT_NS, call=msgspec.structs.replace(_CALL, outcome="refused", count=7)),
    *(
        Notice(
            time_ns=told.EVENT_NS + number,
            name=name,
            severity="error" if name in _FAILED else "warn" if name in _WARNED else "info",
            text="as it was said",
            attributes=attributes,
        )
        for number, (name, attributes) in enumerate(_NOTICES.items())
    ),
)
LABELS = [f"{type(record).__name__}-{number}" for number, record in enumerate(EVERY)]
