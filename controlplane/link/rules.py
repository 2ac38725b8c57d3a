"""Compiled policies: what the arc executes. Integers, nanoseconds and names only; no YAML, no units.

`controlplane.policy` compiles into these; a rule that arrives over the link is validated again as if
hostile, by `msgspec` for types and by `faults.problems()` for meaning.
"""

from typing import Literal, get_args

import msgspec

from controlplane.link.amounts import Amount
from controlplane.link.config import Config, Mode
from controlplane.link.hooks import Hook
from controlplane.link.reach import Network
from controlplane.link.user_sensors import UserSensor

NS = 1_000_000_000
MAX_RULES = 256
MAX_LADDER = 8
BY_HAND = "by hand"
"""In place of a policy where a person asked for an act. No policy can be called so."""
MAX_SPAN_NS = 7 * 24 * 3600 * NS
"""Longest `for`, `after`, cooldown and rate window: beyond a week it is a typing error."""
MAX_GRACE_NS = 300 * NS
LEAST_QUIET_NS = NS
LEAST_PSI_QUIET_NS = 5 * NS
"""Pressure that goes on is told every 2 s."""
LOSS_NS = 10 * NS
MAX_BREAKER_ACTS = 1000
MAX_BREAKER_NS = 3600 * NS
"""Longest window of a policy's own breaker: what was counted in it must outlive a crash."""
MAX_LEVEL = 2**63 - 1
MAX_EVENTS = 10**15
"""Tests between false alarms at most: some 50 bits, within what 32-bit statistics hold."""
MAX_ALLOWED_NS = 10 * 365 * 24 * 3600 * NS
"""Time per false alarm at most, ten years; at least it is a second."""
WHOLE = 10_000
"""Hundredths of a percent that a share may come to."""

ActName = Literal[
    "observe",
    "reweigh",
    "limit-cpu",
    "limit-memory",
    "limit-pids",
    "limit-io",
    "shape",
    "quarantine",
    "deny",
    "reclaim",
    "freeze",
    "evidence",
    "hook",
    "kill",
]
IRREVERSIBLE: frozenset[str] = frozenset({"kill"})
OF_CGROUPS: frozenset[str] = frozenset(
    {"limit-cpu", "limit-memory", "limit-pids", "limit-io", "shape", "quarantine", "reclaim", "deny"}
)
Deniable = Literal["fork", "exec", "connect"]
DENIABLE: tuple[Deniable, ...] = get_args(Deniable)


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rate"):
    """More than `burst` events beyond a steady `1e9 / interval_ns` per second (GCRA)."""

    interval_ns: int
    burst: int


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="level"):
    """A value above `above`, in the signal's own unit."""

    above: int


class Poisson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="poisson"):
    """Events come faster than they used to."""

    allowed_ns: int
    """Time per alarm over all streams of the rule while nothing changes; so in all tests that have it."""


class Betting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="betting"):
    """Values moved up against the stream's own past. The kernel itself bets, and tells of what it wins."""

    allowed_ns: int
    above: int = 0
    """Values up to it, in the signal's own unit, are no evidence."""


class Rare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rare"):
    """Events come oftener than once in `interval_ns`, each by itself (exact Poisson)."""

    interval_ns: int
    allowed_ns: int


class Pressure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="pressure"):
    """A share above `above` now and over the last minute, and not falling; in hundredths of a percent."""

    above: int


Test = Rate | Level | Poisson | Betting | Rare | Pressure


def allowance_ns(test: Test) -> int:
    """Time per alarm that means nothing; 0 where the test states none."""
    return test.allowed_ns if isinstance(test, Poisson | Betting | Rare) else 0


def is_learned(test: Test) -> bool:
    """What is usual is learned from the stream, so the test has a chance of false alarm."""
    return not isinstance(test, Rate | Level | Pressure)


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second signal that must be in trouble, too, before an act that cannot be undone."""

    signal: str
    test: Rate | Level
    within_ns: int = 10 * NS
    """How long it counts after its threshold was last exceeded."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act of a ladder."""

    act: ActName
    after_ns: int = 0
    """Delay since the finding."""
    for_ns: int = 0
    """Time in force before it is undone; 0: until undone by hand. Irreversible acts have none."""
    grace_ns: int = 0
    """Between SIGTERM and SIGKILL; 0: SIGKILL at once."""
    amounts: tuple[Amount, ...] = ()
    """What it sets, all of it or nothing."""
    hook: Hook | None = None
    allow: tuple[Network, ...] = ()
    """Whom a quarantined cgroup may still talk to."""
    interface: str = ""
    """Which one is shaped, in the victim's own network; empty: what the cgroup itself sends and receives."""
    what: Literal["", Deniable] = ""
    """What a deny denies."""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cgroups a rule may see and touch: `node` all of them, else those a glob names."""

    node: bool = False
    cgroups: tuple[str, ...] = ()


def is_empty(scope: Scope) -> bool:
    """Nothing was written: such a rule sees the whole node and may touch none of it."""
    return not scope.node and not scope.cgroups


Where = Literal["auto", "kernel", "userspace"]


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many acts that cannot be undone, in any time of that length."""

    acts: int
    within_ns: int


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One compiled policy."""

    name: str
    signal: str
    per: Literal["cgroup", "process"] = "cgroup"
    scope: Scope = Scope()
    test: Test
    confirm: Confirm | None = None
    ladder: tuple[Step, ...] = ()
    cooldown_ns: int = 60 * NS
    quiet_ns: int = 30 * NS
    """After so much quiet of the signal, what is in force is taken back, and no further step follows."""
    on_loss: Literal["closed", "open"] | None = None
    """Whether to act while events of its sensors are lost; unset, only what can be undone is done."""
    protect: tuple[str, ...] = ()
    """Programs by name, and cgroups by globs with all below them, that it must not touch."""
    breaker: Allowance | None = None
    """How often it may do what cannot be undone; unset, as often as all policies together."""
    where: Where = "auto"
    """Who carries it out, see `placing`."""
    mode: Mode = "observe"
    origin: str = "api"
    """`default`, `api`, or the file it was read from."""


def is_irreversible(rule: Rule) -> bool:
    """Whether its ladder has a step that cannot be undone."""
    return any(step.act in IRREVERSIBLE for step in rule.ladder)


def allowance_of(rule: Rule, config: Config) -> Allowance:
    """Its own, or what is allowed to all policies together."""
    return rule.breaker or allowance_of_node(config)


def allowance_of_node(config: Config) -> Allowance:
    """What is allowed to all policies together."""
    return Allowance(config.breaker_acts, config.breaker_window_s * NS)


def window_ns(test: Test) -> int:
    """How far back what is lost may matter: the time over which a rate is taken, but at least 10 s."""
    return max(LOSS_NS, test.burst * test.interval_ns) if isinstance(test, Rate) else LOSS_NS


def signals_of(rule: Rule) -> tuple[str, ...]:
    """What must be felt for it: the signal it tests, then the one that confirms."""
    return (rule.signal,) if rule.confirm is None else (rule.signal, rule.confirm.signal)


def runs_programs(rule: Rule) -> bool:
    """Whether it names any: who may do that is for the caller to know."""
    return any(step.act == "hook" or step.hook is not None for step in rule.ladder)


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules in force after a load, or why the load was refused."""

    rules: tuple[Rule, ...] = ()
    error: str = ""


class Boot(msgspec.Struct, frozen=True):
    """What the launcher hands to the arc, as msgpack in a memory file."""

    config: Config
    rules: RuleSet
    sensors: tuple[UserSensor, ...] = ()
