"""Rows of the latency table: one act a line, and how it is provoked. Adding an act is adding a line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from controlplane.link.amounts import IDLE, Amount
from controlplane.link.rules import NS, Rate, Rule, Scope, Step
from tests.bench.faults import path_of

Way = Literal["exec", "fork", "loop"]
"""Of `trigger`: each process dies of its second execution; one process forks; one executes on and on."""

BRIEF_NS: Final = 4_000_000
LIMIT: Final = 1 << 30


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


def _set(
    act: Literal["reweigh", "limit-cpu", "limit-memory", "limit-pids", "shape"], *amounts: Amount
) -> Step:
    return Step(act, for_ns=BRIEF_NS, amounts=amounts)


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
    "shape": Row("fork", _set("shape", Amount("rate", 8_000_000)), network=True),
    "quarantine": Row("fork", Step("quarantine", for_ns=BRIEF_NS), network=True),
    "limit-pids": Row("fork", _set("limit-pids", Amount("more", 100)), "pids.max"),
}


def rule_for(row: Row, victim: Path) -> Rule:
    """Fires on the second execution of a process, or on the second fork, and every further one."""
    return Rule(
        name="bench",
        signal="process.fork" if row.way == "fork" else "process.exec",
        per="cgroup" if row.way == "fork" else "process",
        scope=Scope(cgroups=(path_of(victim),)),
        test=Rate(interval_ns=NS // 10, burst=1),
        ladder=(row.step,),
        cooldown_ns=0,
        mode="enforce",
    )
