"""What the journal tells: one struct per kind of record, all times CLOCK_MONOTONIC nanoseconds.

Order is the contract: an `Intent` is written before its act, the `Outcome` after it, `Effect` when the
kernel confirmed it, `Undo` when it was taken back. `Evidence` follows its finding when there is time. The
wall clock of a record follows from its segment.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from controlplane.link.config import Mode

Reason = Literal[
    "timer", "quiet", "command", "restart", "stop", "policy", "mode", "breaker", "ended", "failed"
]
"""Why an act was taken back; `quiet`: the signal has been so for as long as the policy asks, `breaker`: its
policy may act no longer, `ended`: its victim is gone, `failed`: a hook, perhaps half done."""

Guard = Literal["protected", "breaker", "budget", "gone", "absent", "unconfirmed", "lost"]
"""What forbade an act; `budget`: too much is in force, `gone`: there was nobody left to act upon, `absent`:
the kernel has no such control for this victim, as where a cgroup2 controller is not enabled,
`unconfirmed`: it cannot be undone, and the test was not sure enough or its second signal at rest, `lost`:
events of the policy's sensors were lost lately, so what is known is not all there was."""


Severity = Literal["debug", "info", "warn", "error"]


SAMPLED = 1


class _Record(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    time_ns: int
    """When it happened: the kernel event's own time where there is one."""


class _InReflex(_Record, frozen=True, kw_only=True):
    trace_id: bytes
    """16 bytes, one per reflex."""
    span_id: bytes
    """8 bytes, this step."""
    trace_flags: int = SAMPLED
    """Of W3C Trace Context: those of the caller whose trace it goes on with."""


class Finding(_InReflex, frozen=True, kw_only=True):
    """A test that fired. Its span is the root of the trace."""

    parent_id: bytes = b""
    """Span of whoever asked for the reflex and whose trace it goes on with; empty: it began by itself."""
    decided_ns: int
    rule: str
    signal: str
    unit: str
    cgroup: int
    path: str
    pid: int
    start_ns: int
    """Start of the process since boot (CLOCK_BOOTTIME): with `pid` its identity."""
    comm: str
    stream: str = ""
    """What the stream is kept by where that is no cgroup: `8:0 write`, `cpu 3`, `eth0`."""
    culprit: int = 0
    """Cgroup that ran instead, 0 where the signal names none."""
    culprit_path: str = ""
    count: int
    """Kernel events this finding's last record stood for."""
    repeats: int = 0
    """Records of the stream that fired since its last finding while it cooled down, and were not told."""
    value: float
    statistic: float
    threshold: float
    test: str
    mode: Mode
    """What was allowed when it fired: `observe` means no act follows."""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One value that an act sets."""

    what: str
    """A control file or what else is set: `cpu.weight`, `nice`."""
    before: str
    """The undo writes it back."""
    after: str
    removal: bytes = b""
    """Where something was made instead: how to find and remove it, see `messages`."""


class Intent(_InReflex, frozen=True, kw_only=True):
    """An act about to be tried (`mode` enforce), or that would have been (observe)."""

    parent_id: bytes
    rule: str
    step: int
    act: str
    cgroup: int
    path: str
    pid: int = 0
    start_ns: int = 0
    comm: str = ""
    changes: tuple[Change, ...] = ()
    """Empty where there is nothing to undo."""
    until_ns: int = 0
    """When it will be undone; 0: by hand, or never for an irreversible act."""
    mode: Mode
    event_ns: int
    actor: str = ""
    """Who asked for it by hand."""
    carried: bool = False
    """A repeat at the head of a new segment, for undo only: it happened once."""


class Outcome(_InReflex, frozen=True, kw_only=True):
    """The act's system calls returned. Same span as its intent."""

    rule: str
    act: str
    ok: bool
    error: str = ""
    detail: str = ""
    """What a child that did it has seen: memory before and after, how a program ended, the name of a file."""
    event_ns: int
    decided_ns: int


class Effect(_InReflex, frozen=True, kw_only=True):
    """The kernel confirmed the act; `time_ns` is the kernel's. Same span as its intent."""

    rule: str
    act: str
    event_ns: int
    error: str = ""
    """`unseen`: it was waited for long enough, and holds up the next step no longer. It may yet come."""


class Undo(_InReflex, frozen=True, kw_only=True):
    """An act taken back. Its own span, child of the intent's."""

    parent_id: bytes
    rule: str
    act: str
    cgroup: int
    path: str
    pid: int = 0
    reason: Reason
    ok: bool
    error: str = ""
    """`foreign`: somebody else changed the value in between and theirs was left; `shared`: another reflex
    still holds the victim by the same act."""
    detail: str = ""
    """What there is to say of the time it was in force: `forks denied: 12`."""
    actor: str = ""
    event_ns: int


class GuardRefused(_InReflex, frozen=True, kw_only=True):
    """A guard forbade an act."""

    parent_id: bytes
    rule: str
    act: str
    guard: Guard
    detail: str = ""
    path: str = ""
    pid: int = 0


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """So many values from `least` up to the next bucket's."""

    least: float
    count: int


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """Whom records of the trail name: a cgroup, or where the signal names none, a process."""

    cgroup: int
    path: str
    pid: int
    comm: str
    records: int
    """Of the trail, that name it."""
    parent: bool = False
    """It is the parent of the processes that are named."""


class Rival(msgspec.Struct, frozen=True, array_like=True):
    """A stream of the same signal at the same time."""

    path: str
    """Of its cgroup, or what people call its key."""
    recent: int
    """Kernel events that were told of in the last `Evidence.recent_ns` before the finding."""
    peak: float
    """Greatest value told in that time."""
    total: int
    """Kernel events so far, 0 where the kernel does not count them."""


class Evidence(_InReflex, frozen=True, kw_only=True):
    """What led to a finding, for `explain`: told once, after the first acts. Same span as its finding.

    At most 4 KiB. Where findings come too fast, some go without.
    """

    rule: str
    signal: str
    trail: bytes
    """The last records of the stream, see `samples`; the last one fired."""
    buckets: tuple[Bucket, ...] = ()
    """Values of the stream so far, as the kernel counted them; empty for counts."""
    floor: float = 0.0
    """Values up to this are no evidence for the test; 0: all are."""
    recent_ns: int
    itself: Rival
    """The stream of the finding."""
    rivals: tuple[Rival, ...] = ()
    """Other streams of the signal, the greatest first, of those that a rule looks at."""
    suspects: tuple[Suspect, ...] = ()
    """The one named oftenest first."""
    allowed: float = 0.0
    """Tests that may pass on average between alarms that mean nothing; 0: the test has no such number."""
    tests_per_s: float = 0.0
    """Tests a second over all streams of the rule; 0: not measured."""
    streams: int = 0
    """Streams that share the budget; 0: not counted."""


class Repeated(_InReflex, frozen=True, kw_only=True):
    """A storm of findings is over: what its last finding could not tell yet. Same span as that one."""

    rule: str
    signal: str
    cgroup: int
    path: str
    stream: str = ""
    """What it is kept by where that is no cgroup."""
    repeats: int
    """Records that fired since that finding."""
    lasted_ns: int
    """From the event of that finding to the last record that fired."""


class Lost(_Record, frozen=True, kw_only=True):
    """Events that were felt and did not arrive."""

    sensor: str
    reason: str
    count: int


class Notice(_Record, frozen=True, kw_only=True):
    """The daemon's own life: started, armed, reloaded, mode changed, plane restarted ..."""

    name: str
    """Event name without the `reflexarc.` prefix, e.g. `arc.armed`."""
    severity: Severity = "info"
    text: str = ""
    attributes: dict[str, str | int | float | bool] = {}


MAX_TRACE = 2000
"""Characters of a stack trace."""

Short = Annotated[str, Meta(max_length=256)]
"""So much of one text; the plane cuts what is longer."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A management call, or one that was not let in: who, what, from where, and how it ended."""

    outcome: Literal["begun", "done", "failed", "refused"]
    """`begun` is written before anything is changed; `done` or `failed` follows, with the same request id."""
    request_id: Short = ""
    method: Short = ""
    """`/package.Service/Method`; empty where it is none of ours, or the call did not come so far."""
    what: Annotated[str, Meta(max_length=1024)] = ""
    """The request in short."""
    identity: Short = ""
    """Empty where it is not known."""
    role: Short = ""
    origin: Short = ""
    """Address of the peer, as gRPC writes it."""
    code: Short = ""
    """Status of the answer, `PERMISSION_DENIED`."""
    detail: Short = ""
    count: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1
    """Refused calls this stands for: of too many in a short time only the last is told."""


class Audit(_Record, frozen=True, kw_only=True):
    """A call that changes something, or one that was refused, as the plane says."""

    call: Call


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the plane's own log."""

    severity: Severity
    logger: Short
    """Part of the plane."""
    text: Annotated[str, Meta(max_length=1024)]
    error: Short = ""
    """Type of the exception, empty where there was none."""
    message: Annotated[str, Meta(max_length=1024)] = ""
    trace: Annotated[str, Meta(max_length=MAX_TRACE)] = ""


class Diagnostic(_Record, frozen=True, kw_only=True):
    """The plane about itself, as the plane says."""

    said: Said


Record = (
    Finding
    | Intent
    | Outcome
    | Effect
    | Undo
    | GuardRefused
    | Evidence
    | Repeated
    | Lost
    | Notice
    | Audit
    | Diagnostic
)

DECODER: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
EVIDENCE: msgspec.msgpack.Decoder[Evidence] = msgspec.msgpack.Decoder(Evidence)
ENCODER = msgspec.msgpack.Encoder()
