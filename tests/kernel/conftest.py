"""Real parts for tests on the running kernel: cgroups of their own, and an arc turned by the test itself.

The arc runs in the test's process without plane and without real-time, so that a test awaits
events in the arc's own epoll. Every rule is scoped to cgroups that the test made.
"""

import gc
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from controlplane.arc.daemon import Arc
from controlplane.arc.kernel.cgroups import find_mount
from controlplane.arc.reflex.agenda import OVER
from controlplane.arc.reflex.journal import read_records
from controlplane.link.config import Config
from controlplane.link.frames import Stream
from controlplane.link.records import Record
from controlplane.link.rules import NS, Boot, Rate, Rule, RuleSet, Scope, Step
from controlplane.link.user_sensors import UserSensor
from tests.kernel.felt import WAYS, Felt, feeling
from tests.killing import kill_all
from tests.patience import patient

T = TypeVar("T")
WATCHDOG_SECONDS = 40
NUMBERS = itertools.count()


class TestCgroup:
    """A cgroup that the test made, and the processes it put there."""

    __test__ = False

    def __init__(self, directory: Path, path: str) -> None:
        self.directory = directory
        self.path = path
        self.started: list[subprocess.Popen[bytes]] = []
        directory.mkdir()
        self.id = directory.stat().st_ino

    def run(self, *command: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start a command in it; ended with the test."""
        procs = str(self.directory / "cgroup.procs")
        # The shell moves itself, then becomes the command: nothing of the test's own ever enters the cgroup.
        process = subprocess.Popen(
            ["sh", "-c", 'echo 0 > "$0"; exec "$@"', procs, *command],
            stdin=subprocess.PIPE,
            stdout=stdout,
        )
        self.started.append(process)
        return process

    def read(self, name: str) -> str:
        """One control file."""
        return (self.directory / name).read_text().strip()

    @property
    def frozen(self) -> bool:
        """As the kernel says."""
        return "frozen 1" in self.read("cgroup.events")

    def clear(self) -> None:
        """Thaw, kill, reap."""
        kill_all(self.directory)
        for process in self.started:
            with process:
                process.kill()  # it may not have got into the cgroup yet
                process.wait(patient(10))
        self.started.clear()

    def remove(self) -> None:
        """Clear it and take it away."""
        self.clear()
        await_until(self._gone, 10)

    def _gone(self) -> bool:
        try:
            self.directory.rmdir()
        except OSError:
            return False
        return True


def await_until(true: Callable[[], bool], seconds: float) -> None:
    """For what gives no event: look until it is so, at most `seconds`."""
    end = time.monotonic() + patient(seconds)
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not so after {seconds} s")
        os.sched_yield()


def watch() -> None:
    """From now on the test has its time, once more if it had before."""
    signal.alarm(round(patient(WATCHDOG_SECONDS)))


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Ends the test run if a test that enforces hangs, whatever it waits in."""
    watch()
    yield
    signal.alarm(0)


@pytest.fixture
def mount() -> Path:
    """Where cgroup2 is mounted."""
    found = find_mount()
    assert found is not None, "no cgroup2 hierarchy is mounted"
    return Path(found)


@pytest.fixture
def make_cgroup(mount: Path) -> Iterator[Callable[[], TestCgroup]]:
    """Makes cgroups, and takes them away when the test is over."""
    made: list[TestCgroup] = []

    def make() -> TestCgroup:
        name = f"reflexarc-test-{os.getpid()}-{next(NUMBERS)}"
        made.append(TestCgroup(mount / name, f"/{name}"))
        return made[-1]

    yield make
    for cgroup in made:
        if cgroup.directory.exists():
            cgroup.remove()


@pytest.fixture
def cgroup(make_cgroup: Callable[[], TestCgroup]) -> TestCgroup:
    """One cgroup of the test's own."""
    return make_cgroup()


@pytest.fixture
def controlled(mount: Path, make_cgroup: Callable[[], TestCgroup]) -> TestCgroup:
    """One cgroup with every controller that can be had for it; none where v1 hierarchies have them all."""
    for controller in (mount / "cgroup.controllers").read_text().split():
        (mount / "cgroup.subtree_control").write_text(f"+{controller}")
    return make_cgroup()


@pytest.fixture(params=WAYS)
def felt(request: pytest.FixtureRequest) -> Iterator[Felt]:
    """The sensors, under both loaders."""
    with feeling(request.param) as felt:
        yield felt


class Turned:
    """An arc which the test turns by hand."""

    def __init__(self, config: Config, rules: Sequence[Rule], sensors: tuple[UserSensor, ...]) -> None:
        self.config = config
        self.arc = Arc(Boot(config, RuleSet(tuple(rules)), sensors))
        self.arc.arm()
        self.running = True

    def stop(self) -> None:
        """Once."""
        if self.running:
            self.running = False
            self.arc.stop()

    def records(self) -> list[Record]:
        """The whole journal so far."""
        directory = os.open(f"{self.config.runtime_dir}/journal", os.O_RDONLY)
        try:
            return [record for _, record in read_records(directory)]
        finally:
            os.close(directory)

    def of(self, kind: type[T]) -> list[T]:
        """Records of one kind."""
        return [record for record in self.records() if isinstance(record, kind)]

    def streams(self) -> Iterator[Stream]:
        """As they are listed."""
        offset = 0
        while True:
            page = self.arc._commands._streams.page(offset)
            yield from page.streams
            offset = page.next_offset
            if not offset:
                return

    def due(self) -> list[int]:
        """What is due of reflexes; that a storm may be over comes later than all of that."""
        engine = self.arc.engine
        return [due.what for due in engine._agenda if due.what != OVER and not engine._is_stale(due)]

    def turn_until(self, true: Callable[[], bool], seconds: float = 10) -> None:
        """Let it react until something is so."""
        end = time.monotonic() + patient(seconds)
        while not true():
            left = end - time.monotonic()
            if left < 0:
                pytest.fail(f"not so after {seconds} s; journal: {self.records()}")
            self.arc.loop.must_turn(left)

    def await_record(self, kind: type[T], seconds: float = 10) -> T:
        """The first record of a kind."""
        self.turn_until(lambda: bool(self.of(kind)), seconds)
        return self.of(kind)[0]


def config_for(folder: Path, **changes: object) -> Config:
    """Directories and ports that nobody else uses."""
    config = Config(
        mode="enforce",
        realtime="off",
        runtime_dir=str(folder / "run"),
        state_dir=str(folder / "state"),
        policies=str(folder / "policies.d"),
        metrics="127.0.0.1:0",
        health="127.0.0.1:0",
    )
    return msgspec.structs.replace(config, **changes)


@pytest.fixture
def turn(tmp_path: Path) -> Iterator[Callable[..., Turned]]:
    """Starts arcs with given rules; `turn(rule, ..., mode="observe")`."""
    running: list[Turned] = []

    def start(*rules: Rule, sensors: tuple[UserSensor, ...] = (), **changes: object) -> Turned:
        running.append(Turned(config_for(tmp_path, **changes), rules, sensors))
        return running[-1]

    yield start
    for each in running:
        each.stop()
    running.clear()
    gc.collect()  # its parts know one another


def fork_rule(cgroup: TestCgroup, *ladder: Step, **changes: object) -> Rule:
    """Fires at the second fork within a second in that cgroup."""
    rule = Rule(
        name="test-forks",
        signal="process.fork",
        scope=Scope(cgroups=(cgroup.path,)),
        test=Rate(interval_ns=NS, burst=1),
        ladder=ladder,
        mode="enforce",
        cooldown_ns=0,
    )
    return msgspec.structs.replace(rule, **changes)


FORKER = ("sh", "-c", "while read -r line; do (:); done; exec sleep 60")
"""Forks once for each line on its standard input; at the end it stays."""


def fork_in(process: subprocess.Popen[bytes], times: int) -> None:
    """Have a FORKER fork."""
    assert process.stdin is not None
    process.stdin.write(b"\n" * times)
    process.stdin.flush()
