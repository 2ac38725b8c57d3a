"""Frames on the link: commands from the plane, replies and changes from the arc.

One msgpack message per SOCK_SEQPACKET datagram. Everything here is best effort and bounded; what must
not be lost is in the journal.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from controlplane.link.config import Mode
from controlplane.link.records import SAMPLED, Call, Change, Said, Short
from controlplane.link.rules import Allowance, Rule, Step

MAX_FRAME = 64 * 1024
PAGE = 100
"""Most items in one reply; longer lists are paged by `offset`."""


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    id: int
    """Chosen by the plane, echoed in the reply."""


class GetStatus(_Command, frozen=True, kw_only=True):
    """Answered by `Status`."""


class Ping(_Command, frozen=True, kw_only=True):
    """Answered by `Done`: the arc turns."""


class ListStreams(_Command, frozen=True, kw_only=True):
    """Answered by `Streams`."""

    offset: int = 0


class ListRules(_Command, frozen=True, kw_only=True):
    """Answered by `Rules`."""

    offset: int = 0


class ApplyRule(_Command, frozen=True, kw_only=True):
    """Put a rule in force until the daemon restarts; it replaces one of the same name."""

    rule: Rule
    dry_run: bool = False
    actor: Short = ""


class DeleteRule(_Command, frozen=True, kw_only=True):
    """Take a rule out of force; its acts in force are undone."""

    name: Short
    actor: Short = ""


class SetMode(_Command, frozen=True, kw_only=True):
    """Mode of the daemon, or of one rule when `rule` is given."""

    mode: Mode
    rule: Short = ""
    actor: Short = ""


class UndoActs(_Command, frozen=True, kw_only=True):
    """Undo what one reflex has in force; an empty trace id means every reflex."""

    trace_id: bytes = b""
    actor: Short = ""


class Trigger(_Command, frozen=True, kw_only=True):
    """One act by hand, on a cgroup or, with `pid`, on a process; answered by `Triggered`."""

    step: Step
    path: str = ""
    pid: int = 0
    start_ns: int = 0
    """Of the process, since boot: another one of that pid is none; 0: whoever has it now."""
    dry_run: bool = False
    actor: Short = ""
    trace_id: bytes = b""
    """Of the caller's trace, to be carried on; empty: a new one."""
    parent_id: bytes = b""
    trace_flags: Annotated[int, Meta(ge=0, le=255)] = SAMPLED


class CloseBreaker(_Command, frozen=True, kw_only=True):
    """Let a rule act again whose breaker is open, with a new budget; without `rule`, the node's."""

    rule: Short = ""
    actor: Short = ""


class SegmentMoved(_Command, frozen=True, kw_only=True):
    """The plane has a synced copy of this sealed segment: the arc may delete its own."""

    segment: int


class Audited(_Command, frozen=True, kw_only=True):
    """Journal this call. Answered by `Done` once it is in the journal."""

    call: Call


class Noticed(_Command, frozen=True, kw_only=True):
    """Journal what befell the plane."""

    name: Literal["tls.rotated", "tls.refused"]
    text: Annotated[str, Meta(max_length=1024)]


class Diagnosed(_Command, frozen=True, kw_only=True):
    """Journal a line of the plane's log."""

    said: Said


Command = (
    GetStatus
    | Ping
    | ListStreams
    | ListRules
    | ApplyRule
    | DeleteRule
    | SetMode
    | UndoActs
    | Trigger
    | CloseBreaker
    | SegmentMoved
    | Audited
    | Noticed
    | Diagnosed
)


class SensorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor: whether it feels, and what it has cost and lost."""

    name: str
    attached: bool
    reason: str = ""
    """Why it is not attached; empty when it is."""
    hooks: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    seen: int = 0
    """Kernel events that passed the hooks' own filters."""
    emitted: int = 0
    """Records put into the ring."""
    lost: dict[str, int] = {}
    """Events lost, by reason."""
    run_ns: int = 0
    """Time spent in its programs, 0 unless kernel.bpf_stats_enabled."""
    runs: int = 0


class ActInForce(msgspec.Struct, frozen=True, kw_only=True):
    """One reversible act that has not been undone."""

    trace_id: bytes
    rule: str
    act: str
    cgroup: int
    path: str
    pid: int = 0
    since_ns: int
    until_ns: int = 0


class Exemplar(msgspec.Struct, frozen=True):
    """One observed latency of a bucket, with the trace it belongs to."""

    trace_id: bytes
    value_ns: int
    wall_ns: int


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Histogram of event -> act returned; `counts[i]` holds those <= `bounds_ns[i]`, the last the rest."""

    bounds_ns: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ns: int = 0
    exemplars: tuple[Exemplar | None, ...] = ()


class BudgetStatus(msgspec.Struct, frozen=True, array_like=True):
    """What a rule has to decide, and what its allowance of false alarms comes to."""

    streams: int
    """Streams it looks at."""
    tests_per_s: float = 0.0
    """How often they decide, all together; 0 where no false alarms are allowed for."""
    tests_per_alarm: float = 0.0
    """How many tests may pass, on average, between two alarms that mean nothing; as of the last test."""


class Status(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """One snapshot of the arc. Times are CLOCK_MONOTONIC nanoseconds."""

    version: str
    pid: int
    mode: Mode
    loader: str
    realtime: bool
    started_ns: int
    armed_ns: int
    now_ns: int
    sensors: tuple[SensorStatus, ...] = ()
    events: dict[str, int] = {}
    """Kernel events delivered, by signal (a record may stand for many)."""
    streams: int = 0
    rules: int = 0
    findings: dict[str, int] = {}
    """By rule."""
    budgets: dict[str, BudgetStatus] = {}
    """By rule, of those that are not off."""
    reflexes: dict[str, int] = {}
    """Steps taken, by `act/outcome`."""
    refusals: dict[str, int] = {}
    """Steps that were not taken, by guard."""
    denials: dict[str, int] = {}
    """How often the kernel denied something to cgroups, by what."""
    latency: Latency | None = None
    breaker_open: tuple[str, ...] = ()
    breaker: Allowance | None = None
    """Of all rules together."""
    in_force: tuple[ActInForce, ...] = ()
    """The first of them; all are counted in `held`."""
    held: dict[str, int] = {}
    """Reversible acts in force, by act."""
    plane_restarts: int = 0
    link_dropped: int = 0
    journal_records: int = 0
    journal_dropped: int = 0
    policy_error: str = ""
    """Why the last reload was refused; empty when it was taken."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One signal of one cgroup."""

    signal: str
    unit: str
    cgroup: int
    path: str
    count: int
    """Kernel events so far."""
    last: int = 0
    """Last value, in the signal's unit."""
    peak: int = 0
    rules: tuple[str, ...] = ()
    """Rules that test it."""
    histogram: tuple[int, ...] = ()
    """Counts per power of two of the value; empty for counts."""


class Streams(msgspec.Struct, frozen=True, tag=True):
    """A page of streams; `next_offset` 0 at the end."""

    streams: tuple[Stream, ...]
    next_offset: int = 0


class RuleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and how it fares."""

    rule: Rule
    effective_mode: Mode
    """The weaker of the daemon's mode and its own."""
    findings: int = 0
    breaker_open: bool = False
    breaker: Allowance | None = None
    """What holds for it; None where all that it does can be undone."""
    reason: str = ""
    """Why it cannot run here (its sensor is missing); empty when it can."""
    budget: BudgetStatus = BudgetStatus(0)
    where: Literal["kernel", "userspace"] = "userspace"
    """Who carries it out."""


class Rules(msgspec.Struct, frozen=True, tag=True):
    """A page of rules; `next_offset` 0 at the end."""

    rules: tuple[RuleStatus, ...]
    next_offset: int = 0


class Done(msgspec.Struct, frozen=True, tag=True):
    """A command that changed something (or, dry, would have)."""

    changed: int = 0
    detail: str = ""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A command the arc does not carry out."""

    reason: str
    """`not_found`, `invalid`, `forbidden` or `busy`."""
    message: str
    hint: str = ""


class Triggered(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """An act by hand was begun; dry, what it would set, and which guard would refuse it."""

    trace_id: bytes = b""
    """Empty: nothing was done."""
    cgroup: int
    path: str
    pid: int = 0
    comm: str = ""
    changes: tuple[Change, ...] = ()
    guard: str = ""
    detail: str = ""


Result = Status | Streams | Rules | Done | Triggered | Refused


class Reply(msgspec.Struct, frozen=True, tag=True):
    """The answer to the command of that id."""

    id: int
    result: Result


class Changed(msgspec.Struct, frozen=True, tag=True):
    """Health as the arc knows it, sent on every change: component -> (serving, reason)."""

    health: dict[str, tuple[bool, str]]


class Closing(msgspec.Struct, frozen=True, tag=True):
    """Comes with files whose closing takes long: read without room for them, they are closed."""


Telling = Reply | Changed | Closing

COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
TELLINGS: msgspec.msgpack.Decoder[Telling] = msgspec.msgpack.Decoder(Telling)
ENCODER = msgspec.msgpack.Encoder()
