"""The daemon as people run it: started, reloaded, killed in parts, stopped; seen through its own API."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from controlplane.client import Client, HealthClient, RefusedError, Target
from controlplane.link.segment import HEADER, read_entries
from controlplane.wire import management_pb2 as pb
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in, watch

REFLEXARC = str(Path(sys.executable).with_name("reflexarc"))
Event = pb.WatchResponse


def policy(cgroup: TestCgroup, ladder: str = "{act: freeze, for: 1h}", name: str = "test-forks") -> str:
    return f"""
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  signal: process.fork
  scope: {{cgroups: ["{cgroup.path}"]}}
  test: {{kind: threshold, above: 1/s, over: 1s}}
  ladder: [{ladder}]
  cooldown: 0s
  mode: enforce
"""


class Daemon:
    """One daemon with directories of its own; it may be started again on the same ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policies = folder / "policies.d"
        self.policies.mkdir()
        folder.chmod(0o755)
        self.process: subprocess.Popen[str] | None = None
        self.health_port = free_port()

    def command(self) -> list[str]:
        return [
            *(REFLEXARC, "run", "--mode", "enforce", "--policies", str(self.policies)),
            *("--runtime-dir", str(self.folder / "run"), "--state-dir", str(self.folder / "state")),
            *("--metrics", "127.0.0.1:0", "--health", self.health_address()),
        ]

    def health_address(self) -> str:
        return f"127.0.0.1:{self.health_port}"

    def start(self) -> Client:
        """Returns once its API answers. Starting takes most of a test's time, so each has as much."""
        watch()
        self.process = subprocess.Popen(self.command(), stderr=subprocess.PIPE, text=True)
        client = Client(Target(socket=str(self.folder / "run/management.sock")))
        client.wait()
        return client

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Its exit code must be 0 unless it was killed; what it said."""
        process = self.process
        assert process is not None
        self.process = None
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
        return said

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def plane_pid(self) -> int:
        """Of the child that is not a compiler."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return next(int(pid) for pid in children if b"controlplane.plane" in cmdline(int(pid)))


def free_port() -> int:
    """Free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


DaemonT = TypeVar("DaemonT", bound=Daemon)


def one_of(kind: type[DaemonT]) -> Iterator[DaemonT]:
    """For a fixture: a daemon that is not started, and is ended if the test has left it running."""
    # Not under pytest's own folder, which is closed to the plane.
    with tempfile.TemporaryDirectory(prefix="reflexarc-test-") as folder:
        made = kind(Path(folder))
        yield made
        if made.process is not None:
            made.end()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    yield from one_of(Daemon)


def await_event(events: Iterator[Event], wanted: Callable[[Event], bool]) -> Event:
    return next(event for event in events if wanted(event))


def notice(name: str) -> Callable[[Event], bool]:
    return lambda event: event.notice.name == name


def step(kind: pb.ReflexStep.Kind) -> Callable[[Event], bool]:
    return lambda event: event.step.kind == kind


def freeze(client: Client, cgroup: TestCgroup) -> None:
    """Have the daemon freeze the cgroup."""
    events = client.watch()
    fork_in(cgroup.run(*FORKER), 5)
    await_event(events, step(pb.ReflexStep.KIND_EFFECT))
    assert cgroup.frozen


def test_arc_has_one_thread_and_the_plane_no_privilege(daemon: Daemon) -> None:
    daemon.start().close()
    assert len(list(Path(f"/proc/{daemon.pid}/task").iterdir())) == 1
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{daemon.plane_pid()}/status").read_text().splitlines()
    )
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert status["NoNewPrivs"] == "1"


def test_a_second_daemon_on_the_same_directory_is_refused(daemon: Daemon) -> None:
    daemon.start().close()
    second = subprocess.run(daemon.command(), capture_output=True, text=True, check=False, timeout=20)
    assert second.returncode == 1
    assert f"already running, pid {daemon.pid}" in second.stderr
    assert daemon.process is not None
    assert daemon.process.poll() is None


def test_sigterm_undoes_what_is_in_force(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup))
    with daemon.start() as client:
        freeze(client, cgroup)
    said = daemon.end()
    assert cgroup.read("cgroup.freeze") == "0"
    assert "took back 1 acts" in said


def restarts(client: Client) -> int:
    """Undos by a successor, as far as its plane has read the journal."""
    return sum(step.reason == "restart" for reflex in client.reflexes() for step in reflex.steps)


def test_killed_arc_leaves_a_freeze_which_the_next_one_takes_back(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup))
    with daemon.start() as client:
        freeze(client, cgroup)
        plane = daemon.plane_pid()
    daemon.end(signal.SIGKILL)
    assert cgroup.frozen
    await_until(lambda: not cmdline(plane), 10)
    with daemon.start() as client:
        await_until(lambda: cgroup.read("cgroup.freeze") == "0", 10)
        await_until(lambda: restarts(client) > 0, 10)
        assert restarts(client) == 1
    assert "took back 1 acts which a dead predecessor had left in force" in daemon.end()


def test_killed_plane_misses_no_reflex_and_loses_no_record(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup, "{act: freeze, for: 20ms}"))
    with daemon.start() as client:
        forker = cgroup.run(*FORKER)
        os.kill(daemon.plane_pid(), signal.SIGKILL)
        for _ in range(3):
            fork_in(forker, 20)
        client.wait()
        events = client.watch()
        assert client.status().plane_restarts == 1
        fork_in(forker, 20)
        last = await_event(events, step(pb.ReflexStep.KIND_UNDO))
        records = client.status().journal_records
        told = {int(last.uid.rpartition("-")[2])}
        assert max(told) < records
    daemon.end()
    indices = journalled(daemon.folder / "state" / "journal")
    assert indices == list(range(len(indices)))
    assert len(indices) >= records


def journalled(directory: Path) -> list[int]:
    """Record indices of the segments on the disk, in order."""
    return [
        entry.index
        for path in sorted(directory.glob("*.seg"))
        for entry in read_entries(path.read_bytes(), HEADER.size)
    ]


def test_policies_are_reloaded_and_a_bad_file_keeps_the_good_ones(daemon: Daemon, cgroup: TestCgroup) -> None:
    file = daemon.policies / "a.yaml"
    with daemon.start() as client:
        events = client.watch()
        file.write_text(policy(cgroup, name="first"))
        await_event(events, notice("policy.reloaded"))
        assert "first" in {each.policy.name for each in client.policies()}
        file.write_text("spec: {nonsense: 1}")
        told = await_event(events, notice("policy.rejected"))
        assert "a.yaml" in told.notice.text
        assert "first" in {each.policy.name for each in client.policies()}
        assert "a.yaml" in client.status().policy_error
        file.write_text(policy(cgroup, name="second"))
        await_event(events, notice("policy.reloaded"))
        assert client.status().policy_error == ""
        names = {each.policy.name for each in client.policies()}
        assert "second" in names
        assert "first" not in names


def test_a_config_map_is_reloaded_when_its_link_is_swapped(daemon: Daemon, cgroup: TestCgroup) -> None:
    for number in (1, 2):
        version = daemon.policies / f"..version{number}"
        version.mkdir()
        (version / "a.yaml").write_text(policy(cgroup, name=f"version{number}"))
    (daemon.policies / "..data").symlink_to("..version1")
    (daemon.policies / "a.yaml").symlink_to("..data/a.yaml")
    with daemon.start() as client:
        assert "version1" in {each.policy.name for each in client.policies()}
        events = client.watch()
        (daemon.policies / "..data_tmp").symlink_to("..version2")
        (daemon.policies / "..data_tmp").rename(daemon.policies / "..data")
        await_event(events, notice("policy.reloaded"))
        assert "version2" in {each.policy.name for each in client.policies()}


def test_a_policy_that_is_taken_away_lets_go_of_its_victim(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup))
    with daemon.start() as client:
        freeze(client, cgroup)
        events = client.watch()
        client.delete("test-forks")
        undo = await_event(events, step(pb.ReflexStep.KIND_UNDO))
        assert undo.step.reason == "policy"
    assert cgroup.read("cgroup.freeze") == "0"


def test_observe_mode_lets_go_of_everything(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup))
    with daemon.start() as client:
        freeze(client, cgroup)
        events = client.watch()
        client.set_mode(pb.MODE_OBSERVE)
        undo = await_event(events, step(pb.ReflexStep.KIND_UNDO))
        assert undo.step.reason == "mode"
    assert cgroup.read("cgroup.freeze") == "0"


def test_undo_by_command(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup))
    with daemon.start() as client:
        freeze(client, cgroup)
        done = subprocess.run(
            [REFLEXARC, "undo", "--all", "--json", "--socket", str(daemon.folder / "run/management.sock")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["undone"] == 1
    assert cgroup.read("cgroup.freeze") == "0"


def test_a_policy_without_a_scope_cannot_be_made_to_enforce(daemon: Daemon) -> None:
    with daemon.start() as client:
        with pytest.raises(RefusedError, match="scope"):
            client.set_mode(pb.MODE_ENFORCE, "fork-storm")
        modes = {each.policy.name: each.policy.mode for each in client.policies()}
        assert modes["fork-storm"] == pb.MODE_OBSERVE


def test_an_applied_policy_acts_until_it_is_switched_off(daemon: Daemon, cgroup: TestCgroup) -> None:
    with daemon.start() as client:
        applied = client.apply(policy(cgroup).encode(), "by-hand.yaml")
        assert [each.policy.name for each in applied] == ["test-forks"]
        freeze(client, cgroup)
        events = client.watch()
        client.set_mode(pb.MODE_OFF, "test-forks")
        await_event(events, step(pb.ReflexStep.KIND_UNDO))
        assert cgroup.read("cgroup.freeze") == "0"


def test_health_follows_a_bad_policy(daemon: Daemon) -> None:
    with daemon.start() as client:
        events = client.watch()
        (daemon.policies / "bad.yaml").write_text("nonsense: true")
        await_event(events, notice("policy.rejected"))
        with HealthClient(daemon.health_address()) as health:
            statuses = health.watch("policy")
            assert next(status for status in statuses if status != "serving") == "not_serving"
            (daemon.policies / "bad.yaml").unlink()
            assert next(status for status in statuses if status == "serving")


def test_a_sensor_of_which_nothing_is_asked_is_not_attached(daemon: Daemon) -> None:
    with daemon.start() as client:
        assert not attached("sys_exit", daemon.pid)
        client.set_mode(pb.MODE_OBSERVE, "disk-full")
        assert attached("sys_exit", daemon.pid)
        client.set_mode(pb.MODE_OFF, "disk-full")
        assert not attached("sys_exit", daemon.pid)


def attached(hook: str, pid: int) -> bool:
    """Whether this process holds a link to the hook."""
    links = json.loads(subprocess.run(["bpftool", "-j", "link"], capture_output=True, check=True).stdout)
    programs = {
        int(line.split()[1])
        for path in Path(f"/proc/{pid}/fdinfo").iterdir()
        for line in path.read_text().splitlines()
        if line.startswith("prog_id:")
    }
    held = json.loads(subprocess.run(["bpftool", "-j", "prog"], capture_output=True, check=True).stdout)
    names = {program["id"]: program.get("name") for program in held}
    return any(link["prog_id"] in programs and names.get(link["prog_id"]) == hook for link in links)


def explained(daemon: Daemon, *words: str) -> str:
    """What `reflexarc explain` says."""
    command = [REFLEXARC, "explain", *words, "--socket", str(daemon.folder / "run/management.sock")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def test_a_storm_is_explained_also_by_the_next_daemon(daemon: Daemon, cgroup: TestCgroup) -> None:
    (daemon.policies / "a.yaml").write_text(policy(cgroup, "{act: freeze, for: 20ms}"))
    with daemon.start() as client:
        events = client.watch()
        forker = cgroup.run(*FORKER)
        fork_in(forker, 5)
        trace = await_event(events, step(pb.ReflexStep.KIND_UNDO)).step.trace_id
        evidence = client.explain(trace[:12]).evidence
        assert [sample.weight for sample in evidence.trail] == [1] * len(evidence.trail)
        assert evidence.trail[-1].statistic > 1
        assert evidence.itself.path == cgroup.path
        assert evidence.suspects[0].who.pid == forker.pid
        told = explained(daemon, trace)
        assert f"process.fork rate {evidence.trail[-1].statistic:.4g} > 1 in {cgroup.path}" in told
        assert "freeze undone (timer)" in told
    daemon.end()
    with daemon.start():
        assert explained(daemon, trace) == told
