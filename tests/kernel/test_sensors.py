"""Each sensor feels the real thing, with the right value, cgroup and identity."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, Event, EventKind, Gate, Signal
from controlplane.arc.kernel.libbpf import possible_cpus
from controlplane.arc.kernel.sensors import NAMES, NUMBERS, Sensors
from controlplane.arc.kernel.watched import Watched
from controlplane.arc.monitor.gates import CLOSED
from controlplane.link.rules import NS
from controlplane.link.signals import SIGNALS
from tests.kernel.conftest import FORKER, TestCgroup, fork_in
from tests.kernel.felt import EVERY_ONE, Felt, feeling
from tests.patience import patient


@pytest.fixture(params=["core", "libbpf", "bcc", "perf"])
def felt(request: pytest.FixtureRequest) -> Iterator[Felt]:
    """Under both loaders and all readers of a ring."""
    with feeling(request.param) as felt:
        yield felt


def test_all_sensors_attach_here(felt: Felt) -> None:
    assert {sensor.name: sensor.reason for sensor in felt.sensors.all} == dict.fromkeys(NAMES, "")


def test_every_signal_has_a_number_and_a_sensor() -> None:
    numbers = {number.name.lower().replace("_", ".", 1) for number in Signal} - {"none", "user", "signals"}
    assert {signal.name for signal in SIGNALS} <= numbers
    assert {signal.name: NUMBERS[signal.name] for signal in SIGNALS}


def test_forks_are_counted_with_the_childs_cgroup_and_identity(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", EVERY_ONE)
    shell = cgroup.run(*FORKER)
    fork_in(shell, 1)
    event = felt.signal("process.fork", cgroup)
    assert (event.parent, event.weight, event.comm.rstrip(b"\0")) == (shell.pid, 1, b"sh")
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert 0 < boot_ns - event.start_ns < 60 * NS
    assert 0 < time.monotonic_ns() - event.time_ns < 60 * NS


def test_a_batch_is_told_once_with_how_many_and_since_when(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", Gate(10 * NS, 0, 8, 1))
    fork_in(cgroup.run(*FORKER), 24)
    event = felt.signal("process.fork", cgroup)
    assert (event.weight, event.value) == (8, 8)
    assert event.since_ns < event.time_ns


def test_of_a_storm_the_ring_sees_the_logarithm(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", Gate(60 * NS, 0, 1, 1))
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    cgroup.run("sh", "-c", "i=0; while [ $i -lt 1000 ]; do (:); i=$((i+1)); done; exit 1")
    felt.signal("process.exit_failure", cgroup)
    forks = [
        event for event in felt.events if event.signal == Signal.PROCESS_FORK and event.cgroup == cgroup.id
    ]
    # A storm that takes more than a second begins a new round.
    first = [event.weight for event in forks if event.time_ns - forks[0].time_ns < NS]
    assert first == ([1] * 16 + [2, 4, 8, 16, 32, 64, 128, 256])[: len(first)]
    assert len(first) > 18


def test_each_event_is_told_where_a_rule_is_about_processes(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", Gate(60 * NS, 0, 8, 2))
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    cgroup.run("sh", "-c", "i=0; while [ $i -lt 100 ]; do (:); i=$((i+1)); done; exit 1")
    felt.signal("process.exit_failure", cgroup)
    forked = [
        event.pid
        for event in felt.events
        if event.signal == Signal.PROCESS_FORK and event.cgroup == cgroup.id
    ]
    assert len(forked) == len(set(forked)) == 100


def test_slow_counts_never_cross_the_ring(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", Gate(1000, 0, 4, 1))
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    shell = cgroup.run(*FORKER)
    fork_in(shell, 20)
    assert shell.stdin is not None
    shell.stdin.close()
    felt.await_event(lambda event: event.comm.rstrip(b"\0") == b"sleep" and event.cgroup == cgroup.id)
    assert not [event for event in felt.events if event.signal == Signal.PROCESS_FORK]


def test_a_closed_gate_lets_nothing_through(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    fork_in(cgroup.run(*FORKER), 20)
    felt.signal("process.exec", cgroup)
    assert {event.signal for event in felt.events if event.kind == EventKind.SIGNAL} == {Signal.PROCESS_EXEC}


def test_exec_carries_the_new_name(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    process = cgroup.run("sleep", "60")
    event = felt.signal("process.exec", cgroup)
    assert (event.pid, event.comm.rstrip(b"\0")) == (process.pid, b"sleep")
    pidfd = os.pidfd_open(process.pid)
    assert event.inode in (0, os.fstat(pidfd).st_ino)
    os.close(pidfd)


def test_only_failed_exits_are_exit_failures(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    cgroup.run("true").wait(10)
    failed = cgroup.run("false")
    event = felt.signal("process.exit_failure", cgroup)
    assert event.pid == failed.pid


def test_threads_are_no_processes(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.fork", EVERY_ONE)
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    script = "import threading as t; [x.start() or x.join() for x in [t.Thread() for _ in range(9)]]"
    python = cgroup.run(sys.executable, "-c", f"{script}; import os; os.execvp('true', ['true'])")
    python.wait(20)
    felt.await_event(lambda event: event.comm.rstrip(b"\0") == b"true")
    assert not [
        event for event in felt.events if event.signal == Signal.PROCESS_FORK and event.parent == python.pid
    ]


def watched_by(felt: Felt) -> Watched:
    fd = felt.sensors.sensor("process").map_fd("watched")
    assert fd is not None
    return Watched(fd)


def test_a_watched_process_is_told_of_when_it_exits(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    process = cgroup.run("sleep", "60")
    start_ns = felt.signal("process.exec", cgroup).start_ns
    watched = watched_by(felt)
    watched.must_watch(process.pid, start_ns)
    process.kill()
    event = felt.await_event(lambda event: event.kind == EventKind.EXIT)
    assert (event.pid, event.start_ns, event.value) == (process.pid, start_ns, 9)
    assert not watched.is_watched(process.pid, start_ns)


def test_a_reused_pid_is_not_the_watched_process(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    process = cgroup.run("sleep", "60")
    watched_by(felt).must_watch(process.pid, 1)
    felt.signal("process.exec", cgroup)
    process.kill()
    felt.signal("process.exit_failure", cgroup)
    assert not [event for event in felt.events if event.kind == EventKind.EXIT]


def test_protected_programs_are_told_of_when_executed(felt: Felt, cgroup: TestCgroup) -> None:
    names = felt.sensors.sensor("process").map("protected_names", 16, 1)
    assert names is not None
    names.must_update(b"sleep".ljust(16, b"\0"), b"\1")
    process = cgroup.run("sleep", "60")
    event = felt.await_event(lambda event: event.kind == EventKind.PROTECTED)
    assert (event.pid, event.cgroup) == (process.pid, cgroup.id)


def test_run_queue_delay_is_felt_with_who_ran_instead(
    felt: Felt, make_cgroup: Callable[[], TestCgroup]
) -> None:
    victim, hog = make_cgroup(), make_cgroup()
    felt.sensors.set_gate("cpu.runq_delay", Gate(NS // 10, 1_000_000, 0, 1))
    burn = "taskset -c 0 sh -c 'while :; do :; done'"
    hog.run("sh", "-c", f"{burn} & {burn} & wait")
    victim.run("sh", "-c", "exec taskset -c 0 sh -c 'while :; do :; done'")
    # Before taskset the two met wherever they were started.
    event = felt.await_event(
        lambda event: (
            (event.signal, event.cgroup, event.culprit, event.cpu)
            == (Signal.CPU_RUNQ_DELAY, victim.id, hog.id, 0)
        )
    )
    assert 1_000_000 < event.value < 5 * NS


def test_run_queue_delay_is_aggregated_in_the_kernel(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("cpu.runq_delay", Gate(NS // 10, 2**62, 0, 1))
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    cgroup.run("taskset", "-c", "0", "sh", "-c", "head -c 100000000 /dev/zero | cat >/dev/null; false")
    felt.signal("process.exit_failure", cgroup)
    status = felt.sensors.sensor("cpu").status()
    assert status.seen > 10
    assert status.emitted == 0


def test_the_life_of_a_cgroup(felt: Felt, cgroup: TestCgroup) -> None:
    felt.life(EventKind.CGROUP_NEW, cgroup.id)
    cgroup.run("sleep", "60")
    felt.life(EventKind.POPULATED, cgroup.id, 1)
    (cgroup.directory / "cgroup.freeze").write_text("1")
    felt.life(EventKind.FROZEN, cgroup.id, 1)
    (cgroup.directory / "cgroup.freeze").write_text("0")
    felt.life(EventKind.FROZEN, cgroup.id, 0)
    cgroup.remove()
    felt.life(EventKind.POPULATED, cgroup.id, 0)
    felt.life(EventKind.CGROUP_GONE, cgroup.id)


def test_cgroups_of_other_hierarchies_are_not_taken_for_ours(felt: Felt, cgroup: TestCgroup) -> None:
    other = Path("/sys/fs/cgroup/freezer") / cgroup.path[1:]
    if not other.parent.is_dir():
        pytest.skip("no v1 hierarchy is mounted here")
    other.mkdir()
    number = other.stat().st_ino
    other.rmdir()
    cgroup.remove()
    felt.life(EventKind.CGROUP_GONE, cgroup.id)
    born = [event.cgroup for event in felt.events if event.kind == EventKind.CGROUP_NEW]
    assert cgroup.id in born
    assert number not in born


def test_a_dead_cgroup_leaves_no_stream_in_the_kernel(felt: Felt, cgroup: TestCgroup) -> None:
    counts = felt.sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
    felt.sensors.set_gate("process.fork", EVERY_ONE)
    fork_in(cgroup.run(*FORKER), 1)
    felt.signal("process.fork", cgroup)
    key = cgroup.id.to_bytes(8, "little") + NUMBERS["process.fork"].to_bytes(8, "little")
    assert counts.lookup(key) is not None
    cgroup.remove()
    felt.life(EventKind.CGROUP_GONE, cgroup.id)
    assert counts.lookup(key) is None


@pytest.mark.parametrize("perf", [False, True], ids=["ring", "perf"])
def test_what_a_full_ring_loses_is_counted(cgroup: TestCgroup, *, perf: bool) -> None:
    sensors = Sensors(16 * 1024, loader="bcc" if perf else "core", perf=perf)
    try:
        ring = sensors.open_ring()
        sensors.set_gate("process.fork", Gate(0, 0, 1, 1))  # every batch is a round of its own
        shell = cgroup.run(
            "sh", "-c", f"for i in $(seq {1000 * possible_cpus() if perf else 400}); do (:); done"
        )
        shell.wait(patient(20))
        sensors.set_gate("process.fork", CLOSED)
        status = sensors.sensor("process").status()
        assert status.lost["ring"] > 0
        assert status.seen == status.emitted + status.lost["ring"]
        taken: list[Event] = []
        while ring.must_drain(taken.append):
            pass
        assert len([event for event in taken if event.kind == EventKind.SIGNAL]) == status.emitted
    finally:
        sensors.close()
