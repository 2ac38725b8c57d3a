"""Pressure is felt through the kernel's triggers: which are open, and what fires."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.children import Plane
from controlplane.arc.kernel.psi import LOWEST, MAX_TRIGGERS, PRESSURE, level_of, share_in
from controlplane.link.frames import TELLINGS, Closing, Stream
from controlplane.link.records import Finding
from controlplane.link.rules import Level, Pressure, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned

Turn = Callable[..., Turned]

pytestmark = pytest.mark.skipif(not Path(PRESSURE).is_dir(), reason=f"{PRESSURE} is missing")


def rule(signal: str, above: int, *globs: str, **changes: object) -> Rule:
    plain = Rule(
        name=f"test-{signal.replace('.', '-')}-{above}",
        signal=signal,
        scope=Scope(cgroups=globs),
        test=Level(above),
        ladder=(Step("observe"),),
    )
    return msgspec.structs.replace(plain, **changes)


def pressure_files() -> list[str]:
    """Pressure files this process has open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(link.readlink()))
    return sorted(path for path in links if path.startswith(PRESSURE) or ".pressure" in path)


def hog(cgroup: TestCgroup) -> None:
    """Four that want the same CPU: three always wait."""
    burn = "taskset -c 0 sh -c 'while :; do :; done'"
    cgroup.run("sh", "-c", f"{burn} & {burn} & {burn} & {burn} & wait")


def test_a_share_is_read_exactly() -> None:
    assert share_in(b"some avg10=29.06 avg60=18.15 avg300=12.1") == 2906
    assert share_in(b"some avg10=0.00 avg60=0.00") == 0
    assert share_in(b"some avg10=100.00 avg60=0.00") == 10_000


def test_the_pressure_of_a_cgroup_reaches_the_rule(turn: Turn, cgroup: TestCgroup) -> None:
    arc = turn(rule("psi.cpu", 1000, cgroup.path))
    hog(cgroup)
    finding = arc.await_record(Finding, 15)
    assert (finding.signal, finding.cgroup, finding.path) == ("psi.cpu", cgroup.id, cgroup.path)
    assert 1000 < finding.value <= 10_000
    assert finding.threshold == 1000
    (stream,) = psi_streams(arc)
    assert (stream.signal, stream.path, stream.unit) == ("psi.cpu", cgroup.path, "%")
    assert sum(stream.histogram) == stream.count >= 1  # it may have been told of once more by now
    assert stream.peak >= max(finding.value, stream.last)
    arc.arc._sources[0].follow([])
    assert psi_streams(arc) == []


def psi_streams(arc: Turned) -> list[Stream]:
    """Those that are listed."""
    return [each for each in arc.streams() if each.signal.startswith("psi.")]


def test_the_pressure_of_the_node_is_that_of_the_root(turn: Turn, cgroup: TestCgroup, mount: Path) -> None:
    arc = turn(rule("psi.cpu", 500, scope=Scope()))
    hog(cgroup)
    finding = arc.await_record(Finding, 15)
    assert (finding.path, finding.cgroup) == ("/", mount.stat().st_ino)
    assert finding.value > 500


def test_pressure_that_lasts_is_told_of_often_enough(turn: Turn, cgroup: TestCgroup) -> None:
    """The mean over a minute passes 5 % within seconds; records must come meanwhile, and by themselves."""
    arc = turn(rule("psi.cpu", 0, cgroup.path, test=Pressure(500)))
    hog(cgroup)
    finding = arc.await_record(Finding, 25)
    psi = next(sensor for sensor in arc.arc.status().sensors if sensor.name == "psi")
    assert (finding.path, finding.test, finding.threshold) == (cgroup.path, "pressure", 500)
    assert 500 < finding.statistic < finding.value <= 10_000
    assert psi.emitted >= 2


def test_without_a_rule_no_file_is_open(turn: Turn, cgroup: TestCgroup) -> None:
    turn(rule("psi.cpu", 1000, cgroup.path, mode="off"), rule("psi.io", 10_000))
    assert pressure_files() == []


def test_a_calm_cgroup_wakes_nobody(turn: Turn, cgroup: TestCgroup) -> None:
    """A pressure file is readable all the time; only a trigger that fires may wake the arc."""
    arc = turn(rule("psi.cpu", 1000, cgroup.path))
    for _ in range(3):
        arc.arc.loop.must_turn(0)
    psi = next(sensor for sensor in arc.arc.status().sensors if sensor.name == "psi")
    assert (psi.hooks, psi.seen) == (("cpu",), 0)


def test_triggers_follow_the_rules(turn: Turn, cgroup: TestCgroup, mount: Path) -> None:
    own = str(mount) + cgroup.path
    arc = turn(rule("psi.cpu", 1000, cgroup.path), rule("psi.memory", 1000, scope=Scope()))
    assert pressure_files() == [f"{PRESSURE}/memory", f"{own}/cpu.pressure"]
    psi = arc.arc._sources[0]
    psi.follow([rule("psi.io", 1000, cgroup.path), rule("psi.io", 10, scope=Scope())])
    assert pressure_files() == [f"{PRESSURE}/io", f"{own}/io.pressure"]
    assert psi.status().hooks == ("io",)
    psi.follow([])
    assert pressure_files() == []


def test_triggers_follow_cgroups(turn: Turn, make_cgroup: Callable[[], TestCgroup]) -> None:
    arc = turn(rule("psi.cpu", 1000, "/reflexarc-test-*"))
    before = pressure_files()
    cgroup = make_cgroup()
    arc.turn_until(lambda: len(pressure_files()) == len(before) + 1)
    assert any(cgroup.path in path for path in pressure_files())
    cgroup.remove()
    arc.turn_until(lambda: not any(cgroup.path in path for path in pressure_files()))


def test_whoever_reads_the_link_closes_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds for each trigger are too long for the arc, and nothing for the plane."""
    monkeypatch.setattr("controlplane.arc.children.FILES_A_FRAME", 4)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    plane = Plane.__new__(Plane)
    plane._link = ours
    with ours, theirs:
        fds = [os.open(f"{PRESSURE}/cpu", os.O_RDWR) for _ in range(6)]
        for fd in fds:
            os.write(fd, b"some 1900000 2000000\0")
        began = time.monotonic_ns()
        plane.close_there(fds)
        handed_over = time.monotonic_ns() - began
        assert pressure_files() == []
        frames = [theirs.recv(65536) for _ in range(2)]
        assert time.monotonic_ns() - began > handed_over * 4
    assert [TELLINGS.decode(frame) for frame in frames] == [Closing(), Closing()]


def test_what_there_is_no_trigger_for_is_counted(
    turn: Turn, make_cgroup: Callable[[], TestCgroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_TRIGGERS > 1
    monkeypatch.setattr("controlplane.arc.kernel.psi.MAX_TRIGGERS", 1)
    made: Sequence[TestCgroup] = [make_cgroup(), make_cgroup()]
    arc = turn(rule("psi.cpu", 1000, *(each.path for each in made)))
    psi = next(sensor for sensor in arc.arc.status().sensors if sensor.name == "psi")
    assert (psi.lost, psi.attached, psi.hooks) == ({"streams": 1}, True, ("cpu",))


def test_a_mean_over_a_minute_is_told_of_the_larger_half() -> None:
    assert (level_of(Level(2000)), level_of(Pressure(2000)), level_of(Pressure(150))) == (2000, 1000, LOWEST)


def test_the_lowest_share_counts(turn: Turn, cgroup: TestCgroup) -> None:
    arc = turn(rule("psi.cpu", 10_000, cgroup.path), rule("psi.cpu", 1000, cgroup.path))
    hog(cgroup)
    assert arc.await_record(Finding, 15).threshold == 1000
