"""Objects for kernels that lack an instruction feel the same as those for this one."""

import pytest

from controlplane.arc.kernel import instructions, loader
from controlplane.arc.kernel.events import Gate
from controlplane.link.rules import NS
from tests.kernel.conftest import FORKER, TestCgroup, fork_in
from tests.kernel.felt import feeling


def test_a_kernel_is_asked_by_loading_what_it_may_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loader.object_of("cpu").endswith("cpu.bpf.o" if instructions.has_fetch() else "cpu.nofetch.bpf.o")
    monkeypatch.setattr(instructions, "FETCH", bytes(8))
    assert not instructions.has_fetch.__wrapped__()


def test_counts_without_atomic_fetch(monkeypatch: pytest.MonkeyPatch, cgroup: TestCgroup) -> None:
    monkeypatch.setattr(loader, "has_fetch", lambda: False)
    with feeling("core") as felt:
        assert {sensor.name: sensor.reason for sensor in felt.sensors.all if sensor.reason} == {}
        felt.sensors.set_gate("process.fork", Gate(60 * NS, 0, 8, 1))
        fork_in(cgroup.run(*FORKER), 8)
        assert felt.signal("process.fork", cgroup).value == 8
