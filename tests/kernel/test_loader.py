"""Loaders: which one is taken, that the arc stays small under both, and that nothing outlives its sensors."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from controlplane.arc.kernel.events import EventKind
from controlplane.arc.kernel.libbpf import Object, offers_map_type
from controlplane.arc.kernel.loader import BTF, OBJECTS, RINGBUF, SOURCES, choose
from controlplane.arc.kernel.sensors import NAMES, Sensors
from controlplane.compiler.btf import Btf
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt, feeling
from tests.patience import patient

MIB: Final = 1024


def test_auto_takes_what_the_kernel_has() -> None:
    able = BTF.exists() and offers_map_type(RINGBUF)
    assert choose("auto") == ("core" if able else "bcc")
    assert (choose("core"), choose("bcc")) == ("core", "bcc")


def test_an_unknown_type_of_map_is_not_offered() -> None:
    assert not offers_map_type(200)


@pytest.mark.parametrize("perf", [False, True])
def test_perf_is_for_bcc_alone(*, perf: bool) -> None:
    sensors = Sensors(loader="core", perf=perf)
    assert sensors.loader == "core"
    assert type(sensors.open_ring()).__name__ != "PerfRing"
    sensors.close()


@pytest.fixture
def by_bcc() -> Felt:
    with feeling("bcc") as felt:
        return felt


def test_bcc_attaches_the_same_sensors(by_bcc: Felt) -> None:
    assert by_bcc.sensors.loader == "bcc"
    assert {sensor.name: sensor.reason for sensor in by_bcc.sensors.all} == dict.fromkeys(NAMES, "")


def test_bcc_has_the_hooks_that_core_has(by_bcc: Felt) -> None:
    """A sensor may need more of them where it cannot read the kernel's memory directly, never fewer."""
    core = Sensors(loader="core")
    try:
        for name in NAMES:
            hooks = set(core.sensor(name).status().hooks)
            assert hooks <= set(by_bcc.sensors.sensor(name).status().hooks)
    finally:
        core.close()


def test_a_resting_sensor_is_detached_and_comes_back(felt: Felt, cgroup: TestCgroup) -> None:
    process = felt.sensors.sensor("process")
    felt.sensors.set_gate("process.exec", EVERY_ONE)
    process.rest(resting=True)
    cgroup.run("true").wait(patient(10))
    assert process.status().seen == 0
    for _ in range(2):
        process.rest(resting=False)
    cgroup.run("true").wait(patient(10))
    felt.signal("process.exec", cgroup)
    # Attached once, however often it was asked for: what the shell becomes is one event.
    told = [event for event in felt.events if (event.kind, event.cgroup) == (EventKind.SIGNAL, cgroup.id)]
    assert sum(event.weight for event in told) == 1
    assert process.reason == ""


REPORT: Final = """
import os, sys
from controlplane.arc.kernel.sensors import Sensors
before = set(os.listdir("/proc/self/fd"))
sensors = Sensors(loader=sys.argv[1])
memory = dict(line.split(":") for line in open("/proc/self/status"))
print(memory["VmHWM"].split()[0], any("LLVM" in line for line in open("/proc/self/maps")))
sensors.close()
print(len(set(os.listdir("/proc/self/fd")) - before))
"""


@pytest.mark.parametrize("loader", ["core", "bcc"])
def test_no_compiler_is_ever_in_the_arcs_memory(loader: str) -> None:
    done = subprocess.run([sys.executable, "-c", REPORT, loader], capture_output=True, text=True, check=True)
    peak, llvm, left = done.stdout.split()
    assert llvm == "False"
    assert int(peak) < 40 * MIB
    assert left == "0"


def test_a_sensor_whose_object_is_missing_is_disabled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.arc.kernel.sensors.NAMES", ("cgroup", "none", "process"))
    monkeypatch.setattr(Sensors, "_tell_jiffy", lambda _: None)
    sensors = Sensors(loader="core")
    assert [bool(sensor.reason) for sensor in sensors.all] == [False, True, False]
    assert "none.bpf.o" in sensors.sensor("none").reason
    sensors.close()


def test_sources_at_run_time_are_those_the_objects_are_made_of() -> None:
    for name in NAMES:
        assert (SOURCES / f"{name}.bpf.c").read_bytes() == Path(f"bpf/{name}.bpf.c").read_bytes()
        loading = Object(str(OBJECTS / f"{name}.bpf.o"))
        loading.close()


def test_btf_knows_the_running_kernel() -> None:
    with Btf() as btf:
        assert btf.offset_of("cgroup", "kn")
        assert btf.offset_of("list_head", "prev") == 8
        assert btf.offset_of("task_struct", "no_such_field") is None
        assert btf.offset_of("no_such_type", "pid") is None
        assert (btf.has_type("task_struct"), btf.has_type("no_such_type")) == (True, False)
        assert btf.parameters_of("btf_trace_sched_process_exec") == 4
        assert btf.parameters_of("no_such_typedef") is None
        assert btf.parameters_of("pid_t") is None
        assert btf.number_of("pid_type", "PIDTYPE_PID") == 0
        assert btf.number_of("pid_type", "PIDTYPE_NONE") is None


def test_btf_finds_fields_of_unnamed_members() -> None:
    """Struct sock_common has its addresses in an unnamed union of an unnamed struct."""
    with Btf() as btf:
        assert btf.offset_of("sock_common", "skc_daddr") == 0
        assert btf.offset_of("sock_common", "skc_rcv_saddr") == 4
