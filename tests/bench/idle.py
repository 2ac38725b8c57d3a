"""System calls of arc and plane while nothing happens, with the default policies as shipped.

Traced through tracefs, so nothing is attached to them; each call is named with the thread it comes from.
"""

from collections import Counter
from pathlib import Path
from typing import Final

from controlplane.client import Client, Target
from tests.bench.daemon import Daemon, config
from tests.bench.report import Figure, Options, conclude
from tests.bench.syscalls import Call, count, threads
from tests.bench.testbed import folder, watchdog

SECONDS: Final = 60
SETTLE_S: Final = 3.0
"""After the start, for what is done once."""


def main(options: Options) -> int:
    """Counts system calls and context switches of both processes."""
    seconds = options.seconds or SECONDS
    with watchdog(seconds + 60), folder() as scratch, Daemon(config(scratch)) as daemon:
        daemon.await_serving()
        arc, plane = daemon.pid, daemon.plane_pid
        count([arc, plane], SETTLE_S)
        events, switches = felt(daemon), (switched(arc), switched(plane))
        calls = count([arc, plane], seconds)
        woken = switched(arc) - switches[0], switched(plane) - switches[1]
        events = felt(daemon) - events
    by_arc = Counter({call: times for call, times in calls.items() if call.pid == arc})
    by_plane = calls - by_arc
    print(f"\n{seconds} s with {events} kernel events felt meanwhile (of other programs on this machine)")
    show("arc", by_arc)
    show("plane", by_plane)
    unit = f"in {seconds} s"
    conclude(
        "idle",
        {
            "arc.system_calls": Figure(by_arc.total(), unit, aim=0),
            "arc.context_switches": Figure(woken[0], unit),
            "plane.system_calls": Figure(by_plane.total(), unit),
            "plane.context_switches": Figure(woken[1], unit),
            "events_felt": Figure(events, unit),
        },
    )
    return 0


def felt(daemon: Daemon) -> int:
    """Records the sensors have put into the ring so far."""
    with Client(Target(socket=str(daemon.socket))) as client:
        client.wait()
        return sum(sensor.emitted for sensor in client.sensors())


def switched(pid: int) -> int:
    """Context switches of all threads of a process so far."""
    total = 0
    for thread in threads(pid):
        for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.endswith("ctxt_switches"):
                total += int(value)
    return total


def show(who: str, calls: Counter[Call]) -> None:
    """The calls of one process, the most frequent first."""
    print(f"  {who}: {calls.total()} system calls")
    for call, times in calls.most_common():
        print(f"    {times:6}  {call.name:20} thread {call.thread}")
