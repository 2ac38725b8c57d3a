"""Cgroups that lived and died under the eyes of every sensor leave nothing behind, here or in the kernel."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, VALUE_STREAM, StreamKey
from controlplane.link.rules import Level, Rate, Rule, Scope, Step
from controlplane.link.signals import SIGNALS
from tests.kernel.conftest import TestCgroup, Turned
from tests.patience import often

LIVES: Final = often(300)
LIVE: Final = """
import os, socket, sys
parent = sys.argv[1]
for number in range(int(sys.argv[2])):
    place = f"{parent}/{number}"
    os.mkdir(place)
    print(os.stat(place).st_ino)
    child = os.fork()
    if not child:
        with open(f"{place}/cgroup.procs", "w") as procs:
            procs.write("0")
        closed, peer = socket.socket(), socket.socket()
        closed.bind(("127.0.0.1", 0))
        peer.connect_ex(closed.getsockname())
        os.sched_yield()
        os.execvp("false", ["false"])
    os.waitpid(child, 0)
    os.rmdir(place)
"""
"""Each forks, fails to connect, executes, waits for a CPU, faults, fails; and is gone."""


def rules(scope: Scope) -> list[Rule]:
    """For every signal of cgroups one that keeps its gate open, and files ready to act.

    Not for pressure, of which test_psi.py shows the same: the kernel takes 10 ms to close each trigger.
    """
    return [
        Rule(
            name=signal.name.replace(".", "-").replace("_", "-"),
            signal=signal.name,
            scope=scope,
            test=Rate(interval_ns=1, burst=10**9) if signal.kind == "count" else Level(above=2**62),
            ladder=(Step(act="freeze", for_ns=1), Step(act="kill", after_ns=1)),
            mode="enforce",
        )
        for signal in SIGNALS
        if signal.key == "cgroup" and signal.sensor != "psi"
    ]


def kept(running: Turned) -> set[int]:
    """Keys of all streams in the kernel."""
    sensors = running.arc._sensors
    maps = (
        sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size),
        sensors.shared_map("values", STREAM_KEY.size, VALUE_STREAM.size),
    )
    return {StreamKey._make(STREAM_KEY.unpack(key)).key for each in maps for key, _ in each.items()}


def open_files() -> int:
    """Descriptors of this process: control files, pressure files."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_of_them(turn: Callable[..., Turned], cgroup: TestCgroup) -> None:
    running = turn(*rules(Scope(cgroups=(f"{cgroup.path}/**",))))
    files = open_files()
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, str(cgroup.directory), str(LIVES)], stdout=subprocess.PIPE, text=True
    ) as living:
        seen: set[int] = set()
        while living.poll() is None:
            running.arc.loop.must_turn(0.1)
            seen |= running.arc._monitor.places.keys()
        assert living.stdout is not None
        dead = {int(line) for line in living.stdout}
    assert len(dead) == LIVES
    running.turn_until(lambda: dead.isdisjoint(running.arc._monitor.places))
    assert len(dead & seen) > LIVES / 2
    assert dead.isdisjoint(kept(running))
    assert open_files() <= files  # what tests before this one left may be closed meanwhile
