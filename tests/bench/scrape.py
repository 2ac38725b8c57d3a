"""What a scrape costs while 10, 1,000 and 10,000 streams are followed: latency, processor time, bytes.

Beside prometheus_client's own server with a series for each stream, in the same run, by turns.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from controlplane.client import Client, Target
from controlplane.link.rules import NS, Rate, Rule, Scope, Step
from tests.bench.daemon import Daemon, config, free_port
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.syscalls import threads
from tests.bench.testbed import cgroup, cgroup_mount, folder, python, running, watchdog

COUNT: Final = 200
WARM_UP: Final = 5
RULES: Final = 10
"""Each looks at every cgroup, so there are so many streams a cgroup."""
SIZES: Final = (10, 1_000, 10_000)
REQUEST: Final = b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n"


class Scrape(NamedTuple):
    """Of some scrapes of one server."""

    took_s: list[float]
    """Ascending."""
    cpu_s: list[float]
    """Of each of its processes, all scrapes together."""
    size: int
    """Bytes of an answer."""


def main(options: Options) -> int:
    """For each number of streams, a daemon and a peer of its own."""
    count = options.count or COUNT
    figures: dict[str, Figure] = {}
    for streams in SIZES:
        with watchdog(180):
            ours, theirs = measure(streams, count)
        figures |= compare(streams, ours, theirs, count)
    print(f"\n{count} scrapes each, one after the other, a connection each")
    conclude("scrape", figures)
    return 0


def measure(streams: int, count: int) -> tuple[Scrape, Scrape]:
    """Ours and the peer's."""
    with folder() as scratch, cgroup("scraped") as place, ExitStack() as stack:
        settings = config(scratch, mode="observe")
        with Daemon(settings, rules(place)) as daemon, exporter(streams) as (port, peer):
            daemon.await_serving()
            stack.callback(end_streams, place)
            begin_streams(place, streams // RULES)
            await_streams(daemon, streams)
            ours = scraped(int(settings.metrics.rpartition(":")[2]), (daemon.pid, daemon.plane_pid), count)
            return ours, scraped(port, (peer,), count)


def rules(place: Path) -> list[Rule]:
    """Look at every cgroup below, are told each event, and never fire."""
    path = f"/{place.relative_to(cgroup_mount())}/**"
    return [
        Rule(
            name=f"bench-{number}",
            signal="process.exec",
            scope=Scope(cgroups=(path,)),
            test=Rate(interval_ns=1, burst=7),
            ladder=(Step(act="observe"),),
            mode="observe",
        )
        for number in range(RULES)
    ]


def begin_streams(place: Path, cgroups: int) -> None:
    """A program executed in each of so many cgroups."""
    script = (
        'i=0; while [ "$i" -lt "$1" ]; do mkdir "$0/$i" && (echo 0 > "$0/$i/cgroup.procs" && exec true); '
        "i=$((i+1)); done"
    )
    subprocess.run(("sh", "-c", script, str(place), str(cgroups)), check=True)


def end_streams(place: Path) -> None:
    """Take the cgroups away; nobody lives in them."""
    for child in [path for path in place.iterdir() if path.is_dir()]:
        child.rmdir()


def await_streams(daemon: Daemon, streams: int) -> None:
    """Returns when so many are followed."""
    with Client(Target(socket=str(daemon.socket))) as client:
        client.wait()
        while client.status().streams < streams:
            pass


@contextmanager
def exporter(streams: int) -> Iterator[tuple[int, int]]:
    """The peer: its port and its pid."""
    port = free_port()
    command = python("tests.bench.exporter", port, streams)
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield port, process.pid


def scraped(port: int, pids: tuple[int, ...], count: int) -> Scrape:
    """That many, after a few that are not counted."""
    size = max(len(scrape(port)) for _ in range(WARM_UP))
    before = [used_s(pid) for pid in pids]
    took = []
    for _ in range(count):
        begin = time.perf_counter()
        scrape(port)
        took.append(time.perf_counter() - begin)
    used = [used_s(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    return Scrape(sorted(took), used, size)


def scrape(port: int) -> bytes:
    """The whole answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def used_s(pid: int) -> float:
    """Processor time of the threads that a process has now."""
    tasks = (Path(f"/proc/{pid}/task/{thread}/schedstat") for thread in threads(pid))
    return sum(int(task.read_text().split()[0]) for task in tasks) / NS


def compare(streams: int, ours: Scrape, theirs: Scrape, count: int) -> dict[str, Figure]:
    """Medians and tails, in milliseconds."""
    name = f"{streams:,} streams"
    pairs = {
        "p50": (median(ours.took_s), median(theirs.took_s)),
        "p99": (percentile(ours.took_s, 0.99), percentile(theirs.took_s, 0.99)),
        "max": (ours.took_s[-1], theirs.took_s[-1]),
    }
    figures = {
        f"{name}, {which}": Figure(our * 1e3, "ms", peer=their * 1e3, ratio=our / their)
        for which, (our, their) in pairs.items()
    }
    arc, plane = (used / count * 1e3 for used in ours.cpu_s)
    figures[f"{name}, arc's processor time"] = Figure(arc, "ms a scrape")
    figures[f"{name}, plane's processor time"] = Figure(plane, "ms a scrape")
    figures[f"{name}, answer"] = Figure(ours.size, "bytes", peer=theirs.size, ratio=ours.size / theirs.size)
    return figures
