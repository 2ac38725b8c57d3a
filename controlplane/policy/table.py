"""The mapping table: from what is felt to what is done about it, read from the policies themselves.

Run as `python -m controlplane.policy.table` it writes docs/mapping-table.md, of the default policies.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from controlplane.link.amounts import in_words
from controlplane.link.placing import belongs_to_kernel
from controlplane.link.rules import Rule
from controlplane.link.signals import BY_NAME, Known, Signal
from controlplane.policy.compile import DEFAULT_FOLDER, DEFAULTS, compile_policies
from controlplane.policy.load import policies_of, policy_files, read_bytes
from controlplane.policy.model import Duration, Policy, Reasons, Spec, StepSpec, Test
from controlplane.policy.steps import amounts_of, reach_words, step_of
from controlplane.policy.units import NS_OF

HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "process.fork": ("sched_process_fork",),
    "process.exec": ("sched_process_exec",),
    "process.exit_failure": ("sched_process_exit",),
    "process.crash": ("sched_process_exit",),
    "process.fork_refused": ("sys_exit",),
    "cpu.runq_delay": ("sched_wakeup", "sched_wakeup_new", "sched_switch"),
    "memory.reclaim_stall": (
        *("mm_vmscan_direct_reclaim_begin", "mm_vmscan_direct_reclaim_end"),
        *("mm_vmscan_memcg_reclaim_begin", "mm_vmscan_memcg_reclaim_end"),
    ),
    "memory.oom_kill": ("mark_victim",),
    "memory.growth": ("rss_stat", "sched_process_exit"),
    "memory.fault": ("page_fault_user", "page_fault_kernel"),
    "psi.memory": ("/proc/pressure",),
    "psi.cpu": ("/proc/pressure",),
    "psi.io": ("/proc/pressure",),
    "block.latency": ("block_rq_issue", "block_rq_complete"),
    "block.error": ("block_rq_complete",),
    "writeback.pause": ("balance_dirty_pages",),
    "net.retransmit": ("tcp_retransmit_skb",),
    "net.reset": ("tcp_receive_reset",),
    "net.connect_failure": ("inet_sock_set_state",),
    "net.drop": ("kfree_skb",),
    "net.link_down": ("rtnetlink",),
    "net.link_flap": ("rtnetlink",),
    "events.lost": ("the sensors' own counters",),
    "fd.exhausted": ("sys_exit",),
    "disk.full": ("sys_exit",),
    "softirq.time": ("softirq_entry", "softirq_exit"),
}
"""Tracepoints, or where else the kernel tells it."""

STATISTICS: Final = {
    "threshold": {"count": "events beyond a steady rate", "value": "each value"},
    "rate": {"count": "Poisson-CUSUM over dispersion"},
    "histogram": {"value": "histogram betting"},
    "rare": {"count": "exact Poisson e-value"},
    "pressure": {"value": "average over two windows"},
}
"""By kind of test and of signal."""

KERNEL_DOES: Final = {"rate": "batches", "histogram": "bets", "rare": "tells each", "pressure": "triggers"}
"""What of the test is done there, by its kind."""

NOT_FELT: Final = {
    "CPU throttling by `cpu.max`": "The kernel counts it in `cpu.stat` and has no tracepoint for it; reading "
    "a file at times is polling. `psi.cpu` of a cgroup shows it, for throttled tasks wait.",
    "Major faults and refaults": "Neither has a tracepoint. All faults are counted by `memory.fault`, and "
    "the time that refaults cost is in `psi.memory`.",
    "Slow leaks": "`memory.current` is a number to read and no event. What a leak comes to is told: stalls, "
    "then pressure.",
    "Growth of shared memory, of files in memory and of the page cache": "`memory.growth` counts what is a "
    "process's own. The others are told once they press: stalls, then pressure.",
    "Shares of retransmits and of failed exits": "The events they would be shares of are not told, for there "
    "are too many. Their rates are learned instead.",
}
"""What a reader may look for in the table, and why it is not there."""

INTRODUCTION: Final = """\
# Mapping table

From what is felt to what is done about it: the default policies, all in observe mode or off. Each signal
has a test that fits how such streams behave, and a ladder that fits who is to blame. A false alarm budget
is for all streams of a policy together. `reflexarc table` prints the same with your own policies;
a policy of yours replaces the default one of its name.

This page is written by `make table`.

"""


class Row(msgspec.Struct, frozen=True):
    """One policy, as the table shows it."""

    policy: str
    signal: str
    meaning: str
    key: str
    sensor: str
    hooks: tuple[str, ...]
    test: str
    statistic: str
    false_alarms: str
    """`-` where none are stated: a fixed threshold knows nothing of chance."""
    ladder: str
    where: str
    mode: str
    origin: str
    description: str
    reasons: Reasons


def rows(folder: Path | None = None, known: Known = BY_NAME, *, defaults: bool = True) -> tuple[Row, ...]:
    """The default table and the policies of a folder, by signal. Raises PolicyError.

    As in `compile_folder`, which this agrees with: a policy of the same name replaces a default one.
    """
    found: dict[str, Row] = {}
    for origin, place in (("default", DEFAULTS if defaults else None), ("", folder)):
        if place is None or (place == DEFAULT_FOLDER and not place.exists()):
            continue
        entries = [
            entry for file in policy_files(place) for entry in policies_of(read_bytes(file), str(file))
        ]
        rules = compile_policies(entries, origin, known)
        made = (_row(entry.policy, rule, known) for entry, rule in zip(entries, rules, strict=True))
        found |= {row.policy: row for row in made}
    order = list(known)
    return tuple(sorted(found.values(), key=lambda row: (order.index(row.signal), row.policy)))


def _row(policy: Policy, rule: Rule, known: Known) -> Row:
    spec, signal = policy.spec, known[policy.spec.signal]
    return Row(
        policy=policy.metadata.name,
        signal=signal.name,
        meaning=signal.meaning,
        key=signal.key,
        sensor=signal.sensor,
        hooks=HOOKS.get(signal.name, ()),
        test=_test_words(spec.test),
        statistic=STATISTICS[kind_of(spec.test)][signal.kind],
        false_alarms=str(getattr(spec.test, "false_alarms", "-")),
        ladder=_ladder_words(spec),
        where="kernel decides and acts" if belongs_to_kernel(rule) else _where(spec.test, signal),
        mode=spec.mode,
        origin=rule.origin,
        description=policy.metadata.description,
        reasons=policy.metadata.reasons,
    )


def kind_of(test: Test) -> str:
    """As it is written in a policy."""
    return str(test.__struct_config__.tag)


def _test_words(test: Test) -> str:
    above, over = getattr(test, "above", None), getattr(test, "over", None)
    words = kind_of(test)
    if above:
        words += f" above {above}"
    if over is not None:
        words += f" over {_span(over)}" if over else ", at once"
    return words


def _ladder_words(spec: Spec) -> str:
    """The acts, and when they are over before their time."""
    words = ", ".join(map(_step_words, spec.ladder))
    lasting = (step.after + (0 if step.act == "freeze" else step.for_ or 0) for step in spec.ladder)
    return f"{words}; over after {_span(spec.quiet)} of quiet" if max(lasting) > spec.quiet else words


def _step_words(step: StepSpec) -> str:
    after = f" after {_span(step.after)}" if step.after else ""
    lasting = f" for {_span(step.for_)}" if step.for_ else ""
    sets = "".join(f" {in_words(step.act, amount)}" for amount in amounts_of(step))
    sets += "".join(f" {each}" for each in reach_words(step_of(step)))
    grace = f" with {_span(step.grace)} of grace" if step.grace else ""
    what = f" {step.what}" if step.what else ""
    return f"{step.act}{what}{sets}{grace}{after}{lasting}"


def _span(duration: Duration) -> str:
    """In the largest unit of which it is a whole number."""
    unit = next(unit for unit, ns in reversed(NS_OF.items()) if duration % ns == 0)
    return f"{duration // NS_OF[unit]}{unit}"


def _where(test: Test, signal: Signal) -> str:
    if signal.sensor == "link":
        does = "announces"
    elif signal.sensor == "psi":
        does = "triggers"
    elif signal.sensor == "losses":
        does = "counts"
    else:
        does = KERNEL_DOES.get(kind_of(test)) or ("batches" if signal.kind == "count" else "compares")
    return f"kernel {does}, arc decides"


def page(table: Sequence[Row]) -> str:
    """The table as Markdown, then each of its rows in a section of its own."""
    return INTRODUCTION + "".join(
        f"{line}\n" for line in (*_overview(table), *_sections(table), *_not_felt())
    )


HEAD: Final = ("signal", "policy", "statistic", "test", "false alarms", "ladder", "where", "mode")


def _overview(table: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(HEAD)} |"
    yield f"|{'---|' * len(HEAD)}"
    for row in table:
        cells = (
            f"`{row.signal}`",
            f"[{row.policy}](#{row.policy})",
            row.statistic,
            row.test,
            row.false_alarms,
        )
        yield f"| {' | '.join((*cells, row.ladder, row.where, row.mode))} |"


def _sections(table: Iterable[Row]) -> Iterator[str]:
    for row in table:
        yield from ("", f"## {row.policy}", "")
        yield from section(row)


def section(row: Row) -> Iterator[str]:
    """What there is to say of one policy beyond its row."""
    yield row.description
    yield ""
    hooks = ", ".join(f"`{hook}`" for hook in row.hooks)
    yield f"- **Felt**: `{row.signal}`, {row.meaning}, by {row.key}{f'; {hooks}' if hooks else ''}"
    named = (
        ("Assumes", row.reasons.assumes),
        ("Test", row.reasons.test),
        ("Ladder", row.reasons.ladder),
        ("Before enforcing", row.reasons.before_enforcing),
    )
    for name, text in named:
        if text:
            yield f"- **{name}**: {text}"


def _not_felt() -> Iterator[str]:
    yield from ("", "## What is not here", "")
    for what, why in NOT_FELT.items():
        yield f"- **{what}**: {why}"


if __name__ == "__main__":
    sys.stdout.write(page(rows()))
