"""Rows of the latency table: one act a line, and how it is provoked. Adding an act is adding a line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from controlplane.arc.kernel.denials import Denials
from controlplane.link.amounts import IDLE, Amount
from controlplane.link.rules import NS, ActName, Rate, Rule, Scope, Step, Where
from tests.bench.faults import path_of

Way = Literal["exec", "fork", "loop"]
"""Of `trigger`: each process dies of its second execution; one process forks; one executes on and on."""

RULE: Final = "bench"
BRIEF_NS: Final = 4_000_000
LIMIT: Final = 1 << 30
SPEED: Final = 10 << 20
RECLAIMED: Final = 64 << 10
AGAIN_GAP_US: Final = 25_000
"""The arc begins no second reflex on the same victim within 20 ms."""
CHILD_GAP_US: Final = 400_000
"""A child has started and ended meanwhile."""
OFTEN: Final = 4
"""Times as often as the rule allows it happens."""


class Row(NamedTuple):
    """One act on one kind of victim."""

    way: Way
    step: Step
    needs: str = ""
    """Control file without which it cannot be done."""
    peer: Literal["", "kill", "freeze"] = ""
    """What `reflex` calls it, the same in C."""
    network: bool = False
    """It is done in a network namespace of its own."""
    device: bool = False
    """The victim has read a block device, which can be limited, into memory, which can be reclaimed."""
    where: Where = "auto"
    gap_us: int = AGAIN_GAP_US
    """Between reflexes on one victim."""


def _set(act: ActName, *amounts: Amount) -> Step:
    return Step(act, for_ns=BRIEF_NS, amounts=amounts)


DENY: Final = Step("deny", for_ns=BRIEF_NS, what="connect")
ROWS: Final[Mapping[str, Row]] = {
    "kill": Row("exec", Step("kill"), peer="kill"),
    "freeze": Row("fork", Step("freeze", for_ns=BRIEF_NS), peer="freeze"),
    "kill_with_grace": Row("exec", Step("kill", grace_ns=10 * NS)),
    "freeze_process": Row("loop", Step("freeze", for_ns=BRIEF_NS)),
    "reweigh_process": Row("loop", _set("reweigh", Amount("nice", 10), Amount("oom_score_adj", 500))),
    "ionice_process": Row("loop", _set("reweigh", Amount("ionice", IDLE))),
    "reweigh": Row("fork", _set("reweigh", Amount("cpu", 10)), "cpu.weight"),
    "limit-cpu": Row("fork", _set("limit-cpu", Amount("max", 5000)), "cpu.max"),
    "limit-memory": Row("fork", _set("limit-memory", Amount("max", LIMIT)), "memory.high"),
    "limit-pids": Row("fork", _set("limit-pids", Amount("more", 100)), "pids.max"),
    "limit-io": Row(
        "fork", _set("limit-io", Amount("read", SPEED), Amount("write", SPEED)), "io.max", device=True
    ),
    "reclaim": Row(
        "fork",
        Step("reclaim", amounts=(Amount("amount", RECLAIMED),)),
        "memory.reclaim",
        device=True,
        gap_us=CHILD_GAP_US,
    ),
    "deny": Row("fork", DENY, where="userspace"),
    "deny_in_kernel": Row("fork", DENY, where="kernel"),
    "shape": Row("fork", _set("shape", Amount("rate", 8_000_000)), network=True),
    "quarantine": Row("fork", Step("quarantine", for_ns=BRIEF_NS), network=True),
}


def lack(row: Row, victim: Path) -> str:
    """Why the act cannot be done here; empty where it can."""
    if row.step.act == "deny":
        denials = Denials()
        denials.follow(wanted=True)
        reason = denials.reason
        denials.close()
        return reason
    return f"no {row.needs} here" if row.needs and not (victim / row.needs).exists() else ""


def interval_ns(row: Row, patience: int) -> int:
    """Of the events that are within the rate."""
    return patience * OFTEN * row.gap_us * 1000


def rule_for(row: Row, victim: Path, patience: int = 1) -> Rule:
    """Fires on the second execution of a process, or on the second fork, and every further one.

    `patience` times slower than usual is quick enough to fire.
    """
    return Rule(
        name=RULE,
        signal="process.fork" if row.way == "fork" else "process.exec",
        per="cgroup" if row.way == "fork" else "process",
        scope=Scope(cgroups=(path_of(victim),)),
        test=Rate(interval_ns=interval_ns(row, patience), burst=1),
        ladder=(row.step,),
        cooldown_ns=0,
        mode="enforce",
        where=row.where,
    )
