"""A user's own sensor: compiled by clang or bcc, felt, tested by a policy; a bad one harms no other."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from controlplane.arc.kernel.sensors import NAMES, Sensors
from controlplane.errand.hook import children_of
from controlplane.link.frames import ApplyRule, Done, Refused
from controlplane.link.records import Finding
from controlplane.link.rules import Level, Rule, Scope, Step
from controlplane.link.signals import known_with
from controlplane.link.user_sensors import UserSensor
from controlplane.policy.compile import rules_of
from controlplane.policy.sensors import user_sensors
from tests.kernel.conftest import TestCgroup, Turned
from tests.kernel.felt import EVERY_ONE, Felt

EXAMPLES: Final = Path(__file__).parents[2] / "bpf/examples"
DESCRIPTION: Final = """apiVersion: reflexarc/v1
kind: Sensor
metadata: {{name: {name}}}
spec: {{signals: [{{name: own.{name}, kind: count}}]}}
"""


@pytest.fixture
def fsync(tmp_path: Path) -> tuple[UserSensor, ...]:
    """The example, as a user would install it."""
    folder = tmp_path / "sensors.d"
    folder.mkdir(0o755)
    for name in ("fsync.bpf.c", "fsync.yaml"):
        shutil.copy(EXAMPLES / "sensors.d" / name, folder)
    return user_sensors(folder)


@pytest.fixture(params=["clang", "bcc"])
def compiler(request: pytest.FixtureRequest) -> str:
    """Which one is found."""
    return str(request.param)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sensors]]:
    loaded: list[Sensors] = []

    def start(own: tuple[UserSensor, ...], compiler: str = "clang") -> Sensors:
        with monkeypatch.context() as patch:
            if compiler == "bcc":
                patch.setenv("PATH", "")
            loaded.append(Sensors(loader="core", own=own))
        return loaded[-1]

    yield start
    for sensors in loaded:
        sensors.close()


def written(folder: Path, **sources: str) -> tuple[UserSensor, ...]:
    """Sensors with the bodies of these hooks."""
    for name, text in sources.items():
        (folder / f"{name}.bpf.c").write_text(f'#include "dialect.h"\n\n{text}\n')
        (folder / f"{name}.yaml").write_text(DESCRIPTION.format(name=name))
    return user_sensors(folder)


def sync_in(cgroup: TestCgroup, file: Path) -> int:
    """A program that waits for its data; its pid."""
    return cgroup.run("dd", "if=/dev/zero", f"of={file}", "bs=4k", "count=4", "conv=fsync", "status=none").pid


def test_the_example_feels_an_fsync(
    load: Callable[..., Sensors],
    fsync: tuple[UserSensor, ...],
    compiler: str,
    cgroup: TestCgroup,
    tmp_path: Path,
) -> None:
    sensors = load(fsync, compiler)
    assert sensors.sensor("fsync").reason == ""
    felt = Felt(sensors, sensors.open_ring())
    sensors.set_gate("fs.fsync_time", EVERY_ONE)
    pid = sync_in(cgroup, tmp_path / "data")
    event = felt.signal("fs.fsync_time", cgroup)
    assert (event.pid, event.comm.rstrip(b"\0")) == (pid, b"dd")
    assert 0 < event.value < 10_000_000_000
    assert sensors.sensor("fsync").status().signals == ("fs.fsync_time",)
    assert sensors.sensor("fsync").status().seen >= 1, "others may call it, too"


def test_a_policy_acts_on_it(
    turn: Callable[..., Turned], fsync: tuple[UserSensor, ...], cgroup: TestCgroup, tmp_path: Path
) -> None:
    rule = Rule(
        name="slow-fsync",
        signal="fs.fsync_time",
        scope=Scope(cgroups=(cgroup.path,)),
        test=Level(above=1),
        ladder=(Step("observe"),),
    )
    turned = turn(rule, sensors=fsync)
    pid = sync_in(cgroup, tmp_path / "data")
    finding = turned.await_record(Finding)
    assert (finding.signal, finding.unit, finding.path, finding.pid) == (
        "fs.fsync_time",
        "ns",
        cgroup.path,
        pid,
    )
    assert turned.arc.status().events["fs.fsync_time"] == 1


def test_only_rules_of_known_signals_are_applied(
    turn: Callable[..., Turned], fsync: tuple[UserSensor, ...]
) -> None:
    """The plane is not trusted to have looked."""
    answer = turn(sensors=fsync).arc._commands.answer
    rule = Rule(name="own", signal="fs.fsync_time", test=Level(above=1))
    assert isinstance(answer(ApplyRule(id=1, rule=rule)), Done)
    refused = answer(ApplyRule(id=2, rule=msgspec.structs.replace(rule, signal="fs.no_such")))
    assert isinstance(refused, Refused)
    assert "fs.no_such" in refused.message


def test_the_policy_beside_the_example_is_taken(fsync: tuple[UserSensor, ...]) -> None:
    known = known_with(signal for sensor in fsync for signal in sensor.signals)
    (rule,) = rules_of((EXAMPLES / "policies.d/slow-fsync.yaml").read_bytes(), "slow-fsync.yaml", "", known)
    assert rule.signal == "fs.fsync_time"


UNCOMPILED: Final = "HOOK1(sys_enter, long, call)\n{\n\tcount_signal(ctx, SIGNAL_OWN_BAD, nobody);\n}"
UNVERIFIED: Final = (
    "MAP_HASH(kept, u64, u64, 16);\nHOOK1(sys_enter, long, call)\n{\n"
    "\tu64 key = 1, *found = LOOKUP(kept, &key);\n\t*found += 1;\n}"
)
NO_HOOK: Final = "HOOK1(no_such_tracepoint, long, call)\n{\n}"
GOOD: Final = "HOOK1(sched_process_exec, struct task_struct *, task)\n{\n}"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        pytest.param(UNCOMPILED, "bad.bpf.c:5: use of undeclared identifier 'nobody'", id="uncompiled"),
        pytest.param(UNVERIFIED, "sys_enter: R0 invalid mem access 'map_value_or_null'", id="unverified"),
        pytest.param(NO_HOOK, "no_such_tracepoint", id="no-hook"),
    ],
)
def test_a_bad_source_is_disabled_with_its_reason_and_the_rest_runs(
    load: Callable[..., Sensors], compiler: str, source: str, why: str, tmp_path: Path
) -> None:
    sensors = load(written(tmp_path, bad=source, good=GOOD), compiler)
    bad = sensors.sensor("bad")
    assert why in bad.reason
    assert not bad.status().attached
    assert "\n" not in bad.reason
    assert len(bad.log) >= len(bad.reason)
    assert {name: sensors.sensor(name).reason for name in (*NAMES, "good")} == dict.fromkeys(
        (*NAMES, "good"), ""
    )


def test_a_compiler_that_dies_takes_one_source_with_it(
    load: Callable[..., Sensors], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bcc's LLVM ends the process over what it cannot translate."""
    fatal = (
        "MAP_ARRAY(sum, u32, 1);\nHOOK1(sched_process_exec, struct task_struct *, task)\n{\n"
        "\tu32 at = 0;\n\tu32 *kept = LOOKUP(sum, &at);\n\n"
        "\tif (kept && __sync_fetch_and_add(kept, 1) > 7)\n\t\tcount(COUNTER_SEEN, 1);\n}"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    sensors = load(written(tmp_path, a=GOOD, b=fatal, c=GOOD), "bcc")
    assert not list(scratch.iterdir())
    assert "XADD" in sensors.sensor("b").reason
    assert (sensors.sensor("a").reason, sensors.sensor("c").reason) == ("", "")


def test_nothing_is_left_behind(
    load: Callable[..., Sensors], compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = written(tmp_path, bad=UNVERIFIED, good=GOOD)
    load(own, compiler).close()
    # What earlier tests left to the collector must not go in between.
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    others = set(children_of(os.getpid()))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    load(own, compiler).close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert not list(scratch.iterdir())
    assert others.issuperset(children_of(os.getpid()))
