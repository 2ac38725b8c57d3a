"""Every signal there is: its name, unit, kind and sensor. The one table; adding a signal is adding a row.

Numbers are not here: they are in bpf/events.h, as `enum signal` with the same names.
"""

from typing import Literal, NamedTuple


class Signal(NamedTuple):
    """A named quantity which a sensor yields."""

    name: str
    sensor: str
    kind: Literal["count", "value"]
    """`count`: events per time; `value`: each event carries one."""
    unit: str
    """UCUM: `1` events, `ns` nanoseconds."""
    meaning: str


SIGNALS: tuple[Signal, ...] = (
    Signal("process.fork", "process", "count", "1", "processes forked"),
    Signal("process.exec", "process", "count", "1", "programs executed"),
    Signal("process.exit_failure", "process", "count", "1", "processes that did not exit with 0"),
    Signal("cpu.runq_delay", "cpu", "value", "ns", "time a runnable task waited for a CPU"),
)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}
