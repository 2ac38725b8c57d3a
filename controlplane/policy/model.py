"""The form of a policy file, one struct per mapping; quantities are read when the struct is built.

Holds no rules beyond types: what a policy means, and whether it may be, is decided in `compile`.
"""

from typing import Final, Literal

import msgspec

from controlplane.link.config import Mode
from controlplane.link.rules import NS, ActName, Deniable, Scope, Where
from controlplane.link.signals import Key
from controlplane.policy import units
from controlplane.policy.errors import UnitError, shown

API_VERSION: Final = "reflexarc/v1"


class Duration(int):
    """Nanoseconds, written `250ms`."""


class Quantity(str):
    """A number with its unit, kept as text until the signal says which unit it must have."""

    __slots__ = ()


class Limit(str):
    """A number, with a unit where the act wants one; kept as text until the act says which."""

    __slots__ = ()


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who a policy is."""

    name: str
    description: str = ""


class Reasons(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why a policy is as it is: for whoever reads the mapping table. Nothing is decided by it."""

    assumes: str = ""
    """Of the stream, or the false alarms are not those stated."""
    test: str = ""
    """Why this test and these numbers."""
    ladder: str = ""
    """Why these acts."""
    before_enforcing: str = ""
    """What to look at first."""


class PolicyMetadata(Metadata, frozen=True, forbid_unknown_fields=True):
    """Who a policy is, and why it is so."""

    reasons: Reasons = Reasons()


class Threshold(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="threshold"
):
    """Fires above a rate (a signal that counts) or above a value (a signal that measures)."""

    above: Quantity
    over: Duration | None = None
    """How long a rate must be exceeded; 100 ms unless given. Counts only."""


class LearnedRate(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="rate"
):
    """Fires when events come faster than they used to. Counts only."""

    false_alarms: Quantity
    """How often it may fire although nothing has changed, over all streams of the policy."""


class LearnedValues(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="histogram"
):
    """Fires when values are higher than they used to be. Values only."""

    false_alarms: Quantity
    above: Quantity | None = None
    """Values up to it are no evidence, however unusual."""


class RareEvents(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="rare"
):
    """Fires when single events come oftener than stated. Counts only."""

    above: Quantity
    """How often they may come, in each stream."""
    false_alarms: Quantity


class LastingPressure(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="pressure"
):
    """Fires when a share has been high for a minute, is high now, and does not fall. Signals of psi only."""

    above: Quantity


Test = Threshold | LearnedRate | LearnedValues | RareEvents | LastingPressure


class ConfirmSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second signal without which nothing is done that cannot be undone."""

    signal: str
    above: Quantity
    over: Duration | None = None
    """As in `Threshold`."""
    within: Duration = Duration(10 * NS)
    """How long it counts after its threshold was last exceeded."""


class StepSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step of a ladder."""

    act: ActName
    for_: Duration | None = msgspec.field(default=None, name="for")
    after: Duration = Duration(0)
    grace: Duration | None = None
    """Between SIGTERM and SIGKILL of a kill."""
    cpu: int | None = None
    """Weights of a cgroup: 100 is usual, 1 the least."""
    io: int | None = None
    nice: int | None = None
    """Of a process."""
    ionice: int | Literal["idle"] | None = None
    """A level from 0 to 7 of the class best-effort, or the class below all others."""
    oom_score_adj: int | None = None
    max: Limit | None = None
    more: int | None = None
    """Processes, beyond those there are."""
    read: Limit | None = None
    """From every disk that the cgroup uses, a second."""
    write: Limit | None = None
    amount: Limit | None = None
    """Of memory to reclaim."""
    run: tuple[str, ...] | None = None
    """Of a hook: a program and its arguments."""
    undo: tuple[str, ...] | None = None
    """The program that takes back what the first did."""
    timeout: Duration | None = None
    as_: str | None = msgspec.field(default=None, name="as")
    """Account it runs as; nobody unless given."""
    rate: Limit | None = None
    """What a cgroup may send and receive, each, or an interface may send; a second."""
    allow: tuple[str, ...] = ()
    """Networks that a quarantined cgroup may still talk to."""
    interface: str = ""
    """Of the victim's own network."""
    what: Deniable | None = None
    """Of a deny."""


class BreakerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often a policy may do what cannot be undone, before it may observe only."""

    acts: int
    within: Duration


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a policy does."""

    signal: str
    per: Literal["cgroup", "process"] = "cgroup"
    scope: Scope = Scope()
    """Left out, the policy sees every cgroup and may touch none."""
    test: Test
    confirm: ConfirmSpec | None = None
    ladder: tuple[StepSpec, ...]
    cooldown: Duration = Duration(60 * NS)
    quiet: Duration = Duration(30 * NS)
    """After so much quiet of the signal, steps still in force are taken back, the last one first."""
    on_loss: Literal["closed", "open"] | None = None
    """Whether to act while events of its sensors are lost; left out, only what can be undone is done."""
    protect: tuple[str, ...] = ()
    """Programs by name and cgroups by glob, besides those that are protected in any case."""
    breaker: BreakerSpec | None = None
    """Left out, the daemon's `breaker_acts` in `breaker_window_s`, which hold for the node in any case."""
    where: Where = "auto"
    mode: Mode = "observe"


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One document of a policy file."""

    api_version: Literal["reflexarc/v1"] = msgspec.field(name="apiVersion")
    kind: Literal["Policy"]
    metadata: PolicyMetadata
    spec: Spec


class SignalSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signal of a user's own sensor."""

    name: str
    kind: Literal["count", "value"]
    unit: Literal["1", "ns", "By", "%"] = "1"
    """Of values: nanoseconds, bytes, or hundredths of a percent. Counts have none."""
    key: Key = "cgroup"
    meaning: str = ""


class SensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user's own sensor yields."""

    signals: tuple[SignalSpec, ...]


class Sensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The one document beside a source in sensors.d."""

    api_version: Literal["reflexarc/v1"] = msgspec.field(name="apiVersion")
    kind: Literal["Sensor"]
    metadata: Metadata
    spec: SensorSpec


def read_quantity(kind: type, value: object) -> Duration | Quantity | Limit:
    """The `dec_hook` of these structs. Raises UnitError."""
    if kind is Limit:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise UnitError(f"{shown(value)} is not a limit", "write for example 50%, 64MiB or 100")
        return Limit(value)
    if kind is Duration:
        return Duration(units.duration_ns(value))
    if not isinstance(value, str):
        raise UnitError(f"{shown(value)} has no unit", "write for example 500/s, or 50ms")
    return Quantity(value)
