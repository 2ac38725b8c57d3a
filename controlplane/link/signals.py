"""Every signal there is: its name, sensor, unit and key. The one table; adding a signal is adding a row.

Numbers are not here: they are in bpf/events.h, as `enum signal` with the same names.
"""

from typing import Literal, NamedTuple

Key = Literal["cgroup", "device", "cpu", "interface"]


class Signal(NamedTuple):
    """A named quantity which a sensor yields."""

    name: str
    sensor: str
    kind: Literal["count", "value"]
    """`count`: events per time; `value`: each event carries one."""
    unit: str
    """UCUM: `1` events, `ns` nanoseconds, `%` hundredths of a percent."""
    meaning: str
    key: Key = "cgroup"
    """What a stream of it is kept by."""


SIGNALS: tuple[Signal, ...] = (
    Signal("process.fork", "process", "count", "1", "processes forked"),
    Signal("process.exec", "process", "count", "1", "programs executed"),
    Signal("process.exit_failure", "process", "count", "1", "processes that did not exit with 0"),
    Signal(
        "process.crash", "process", "count", "1", "processes ended by a signal other than an order to end"
    ),
    Signal("cpu.runq_delay", "cpu", "value", "ns", "time a runnable task waited for a CPU"),
)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}
