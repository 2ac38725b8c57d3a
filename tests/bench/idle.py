"""System calls and wake-ups of arc and plane while nothing happens, with the default policies as shipped.

Once with nobody connected, and once with a collector, a scraper that asks every 15 s as Prometheus does, and
clients that watch health and events. Traced through tracefs, so nothing is attached to the two processes;
each call and each wake-up is named with the thread it comes from.
"""

import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from controlplane.client import Client, ClientError, HealthClient, Target
from tests.bench.daemon import Daemon, config, free_port
from tests.bench.report import Figure, Options, conclude
from tests.bench.scrape import scrape
from tests.bench.syscalls import Call, count, threads
from tests.bench.testbed import folder, python, running, watchdog

SECONDS: Final = 60
SETTLE_S: Final = 3.0
"""After the start, for what is done once."""
SCRAPE_S: Final = 15.0
"""Between scrapes: what Prometheus does by default."""


class Quiet(NamedTuple):
    """What one process did meanwhile."""

    calls: Counter[Call]
    wakeups: Counter[str]
    """By thread: how often it had slept."""


def main(options: Options) -> int:
    """Counts system calls and wake-ups of both processes."""
    seconds = options.seconds or SECONDS
    figures: dict[str, Figure] = {}
    for name in ("alone", "connected"):
        with watchdog(seconds + 60), folder() as scratch, ExitStack() as stack:
            arc, plane, events = measure(scratch, seconds, stack, connected=name == "connected")
        print(f"\n{name}: {seconds} s with {events} kernel events felt meanwhile (of other programs)")
        show("arc", arc)
        show("plane", plane)
        unit = f"in {seconds} s"
        aim = 0 if name == "alone" else None
        figures |= {
            f"{name}.arc.system_calls": Figure(arc.calls.total(), unit, aim=aim),
            f"{name}.arc.wakeups": Figure(arc.wakeups.total(), unit, aim=aim),
            f"{name}.plane.system_calls": Figure(plane.calls.total(), unit),
            f"{name}.plane.wakeups": Figure(plane.wakeups.total(), unit),
            f"{name}.events_felt": Figure(events, unit),
        }
    conclude("idle", figures)
    return 0


def measure(scratch: Path, seconds: int, stack: ExitStack, *, connected: bool) -> tuple[Quiet, Quiet, int]:
    """Arc, plane, and how many events were felt meanwhile."""
    if connected:
        stack.enter_context(collector(scratch))
    daemon = stack.enter_context(Daemon(config(scratch)))
    daemon.await_serving()
    if connected:
        stack.enter_context(clients(daemon))
    arc, plane = daemon.pid, daemon.plane_pid
    count([arc, plane], SETTLE_S)
    events, slept = felt(daemon), (wakeups(arc), wakeups(plane))
    calls = count([arc, plane], seconds)
    woken = wakeups(arc) - slept[0], wakeups(plane) - slept[1]
    by_arc = Counter({call: times for call, times in calls.items() if call.pid == arc})
    return Quiet(by_arc, woken[0]), Quiet(calls - by_arc, woken[1]), felt(daemon) - events


@contextmanager
def collector(scratch: Path) -> Iterator[None]:
    """Takes what daemons started meanwhile export."""
    port = free_port()
    with running(python("tests.bench.sink", port, scratch / "uids"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
        try:
            yield
        finally:
            del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]


@contextmanager
def clients(daemon: Daemon) -> Iterator[None]:
    """One scrapes, one watches health, one what happens."""
    stop = threading.Event()
    port = int(daemon.config.metrics.rpartition(":")[2])
    with HealthClient(daemon.config.health) as health, Client(Target(socket=str(daemon.socket))) as client:
        work = (
            lambda: drain(health.watch("")),
            lambda: drain(client.watch()),
            lambda: scrape_until(stop, port),
        )
        for each in work:
            threading.Thread(target=each, daemon=True).start()
        try:
            yield
        finally:
            stop.set()


def drain(feed: Iterator[object]) -> None:
    """Until the connection is closed."""
    with suppress(ClientError):
        for _ in feed:
            pass


def scrape_until(stop: threading.Event, port: int) -> None:
    """As Prometheus does."""
    while not stop.wait(SCRAPE_S):
        scrape(port)


def felt(daemon: Daemon) -> int:
    """Records the sensors have put into the ring so far."""
    with Client(Target(socket=str(daemon.socket))) as client:
        client.wait()
        return sum(sensor.emitted for sensor in client.sensors())


def wakeups(pid: int) -> Counter[str]:
    """How often each thread has given up its processor to wait, by name: so often it was woken."""
    found: Counter[str] = Counter()
    for thread in threads(pid):
        fields = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines()
            if ":\t" in line
        )
        found[fields["Name"]] += int(fields["voluntary_ctxt_switches"])
    return found


def show(who: str, quiet: Quiet) -> None:
    """The calls and wake-ups of one process, the most frequent first."""
    print(f"  {who}: {quiet.wakeups.total()} wake-ups, {quiet.calls.total()} system calls")
    for thread, times in quiet.wakeups.most_common():
        print(f"    {times:6}  wake-ups             thread {thread}")
    for call, times in quiet.calls.most_common():
        print(f"    {times:6}  {call.name:20} thread {call.thread}")
