"""Compiled policies: what the arc executes. Integers, nanoseconds and names only; no YAML, no units.

`controlplane.policy` compiles into these; a rule that arrives over the link is validated again as if
hostile, by `msgspec` for types and by `problems()` for meaning.
"""

from typing import Literal

import msgspec

from controlplane.link.config import Config, Mode

NS = 1_000_000_000
MAX_RULES = 256
MAX_LADDER = 8

ActName = Literal["observe", "freeze", "kill"]
IRREVERSIBLE: frozenset[str] = frozenset({"kill"})


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rate"):
    """More than `burst` events beyond a steady `1e9 / interval_ns` per second (GCRA)."""

    interval_ns: int
    burst: int


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="level"):
    """A value above `above`, in the signal's own unit."""

    above: int


Test = Rate | Level


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act of a ladder."""

    act: ActName
    after_ns: int = 0
    """Delay since the finding."""
    for_ns: int = 0
    """Time in force before it is undone; 0: until undone by hand. Irreversible acts have none."""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cgroups a rule may see and touch: `node` all of them, else those a glob names."""

    node: bool = False
    cgroups: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One compiled policy."""

    name: str
    signal: str
    per: Literal["cgroup", "process"] = "cgroup"
    scope: Scope = Scope()
    test: Test
    ladder: tuple[Step, ...] = ()
    cooldown_ns: int = 60 * NS
    mode: Mode = "observe"
    origin: str = "api"
    """`default`, `api`, or the file it was read from."""


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules in force after a load, or why the load was refused."""

    rules: tuple[Rule, ...] = ()
    error: str = ""


class Boot(msgspec.Struct, frozen=True):
    """What the launcher hands to the arc, as msgpack in a memory file."""

    config: Config
    rules: RuleSet
