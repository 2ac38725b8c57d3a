"""Every signal the daemon comes with: its name, sensor, unit and key. Adding a signal is adding a row.

Numbers are not here: they are in bpf/events.h, as `enum signal` with the same names.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

Key = Literal["cgroup", "device", "cpu", "interface"]


class Signal(NamedTuple):
    """A named quantity which a sensor yields."""

    name: str
    sensor: str
    kind: Literal["count", "value"]
    """`count`: events per time; `value`: each event carries one."""
    unit: str
    """UCUM: `1` events, `{page}` pages, `ns` nanoseconds, `%` hundredths of a percent."""
    meaning: str
    key: Key = "cgroup"
    """What a stream of it is kept by."""
    process: bool = True
    """Whether its events name a process; else no rule can be about one."""


PAGES: Final = "{page}"
"""Unit of counts of memory, in the machine's own pages."""

NAMELESS: Final = frozenset({"psi", "block", "net", "link", "losses", "softirq"})
"""Sensors that feel where whoever runs is nobody in particular, or nobody runs."""

_ROWS: Final = (
    Signal("process.fork", "process", "count", "1", "processes forked"),
    Signal("process.exec", "process", "count", "1", "programs executed"),
    Signal("process.exit_failure", "process", "count", "1", "processes that did not exit with 0"),
    Signal(
        "process.crash", "process", "count", "1", "processes ended by a signal other than an order to end"
    ),
    Signal("cpu.runq_delay", "cpu", "value", "ns", "time a runnable task waited for a CPU"),
    Signal(
        "memory.reclaim_stall", "memory", "value", "ns", "time a task had to reclaim memory before it got any"
    ),
    Signal("memory.oom_kill", "memory", "count", "1", "processes chosen by the OOM killer"),
    Signal("memory.growth", "memory", "count", PAGES, "pages by which the memory of programs grew"),
    Signal("memory.fault", "fault", "count", "1", "page faults of programs"),
    Signal("psi.memory", "psi", "value", "%", "share of the last 10 s in which a task waited for memory"),
    Signal("psi.cpu", "psi", "value", "%", "share of the last 10 s in which a task waited for a CPU"),
    Signal("psi.io", "psi", "value", "%", "share of the last 10 s in which a task waited for a device"),
    Signal("block.latency", "block", "value", "ns", "time a device took for a request", "device"),
    Signal("block.error", "block", "count", "1", "requests a device did not fulfil", "device"),
    Signal("writeback.pause", "writeback", "value", "ns", "time a task is made to wait for dirty pages"),
    Signal("net.retransmit", "net", "count", "1", "TCP segments sent again"),
    Signal("net.reset", "net", "count", "1", "TCP connections reset by the other side"),
    Signal("net.connect_failure", "net", "count", "1", "TCP connections that could not be made"),
    Signal("net.drop", "net", "count", "1", "packets dropped for a reason the kernel gives"),
    Signal("net.link_down", "link", "count", "1", "times an interface went down", "interface"),
    Signal("net.link_flap", "link", "count", "1", "times an interface went up or down", "interface"),
    Signal("fd.exhausted", "fd", "count", "1", "system calls refused for want of file descriptors"),
    Signal("disk.full", "fd", "count", "1", "system calls refused for want of space on a file system"),
    Signal("process.fork_refused", "fd", "count", "1", "processes and threads refused by a limit"),
    Signal("softirq.time", "softirq", "value", "ns", "time one run of a softirq handler took", "cpu"),
    Signal("events.lost", "losses", "count", "1", "events felt that could not be handed over"),
)

SIGNALS: tuple[Signal, ...] = tuple(row._replace(process=row.sensor not in NAMELESS) for row in _ROWS)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}

Known = Mapping[str, Signal]
"""Signals by name: the daemon's own, and those of the user's sensors."""


def unit_in_words(unit: str) -> str:
    """As people read it, before nothing and after a number; empty for plain events."""
    return {"1": "", PAGES: " pages"}.get(unit, f" {unit}" if unit else "")


def known_with(own: Iterable[Signal]) -> Known:
    """All signals of a daemon to which the user has added these."""
    return BY_NAME | {signal.name: signal for signal in own}
