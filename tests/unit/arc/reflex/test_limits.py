"""Which limit is written for what was there, an amount and what is used: never a looser one.

Plain files stand in for those of a cgroup.
"""

from pathlib import Path

import pytest

from controlplane.arc.reflex.acts import AbsentError
from controlplane.arc.reflex.limits import LimitIo, must_cpu, must_io, must_memory, must_pids
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import NS, Step
from tests.unit.arc.reflex.test_values import Folder

MIB = 1 << 20
VICTIM = Victim(7, "/a")
READ = Step("limit-io", for_ns=NS, amounts=(Amount("read", MIB),))
UNLIMITED = "rbps=max wbps=max riops=max wiops=max"


@pytest.mark.parametrize(
    ("before", "hundredths", "after"),
    [
        ("max 100000", 5000, "50000 100000"),
        ("max 100000", 25_000, "250000 100000"),
        ("max 10000", 100, "1000 10000"),
        ("80000 100000", 5000, "50000 100000"),
        ("20000 100000", 5000, "20000 100000"),
    ],
)
def test_cpu(before: str, hundredths: int, after: str) -> None:
    assert must_cpu(before, Amount("max", hundredths), 0) == after


@pytest.mark.parametrize(
    ("before", "amount", "after"),
    [
        ("max", Amount("max", MIB + 1), str(MIB)),
        ("max", Amount("max", 5000, "share"), str(4 * MIB)),
        (str(2 * MIB), Amount("max", 5000, "share"), str(2 * MIB)),
    ],
)
def test_memory(before: str, amount: Amount, after: str) -> None:
    assert must_memory(before, amount, 8 * MIB + 10) == after


def test_processes() -> None:
    assert must_pids("max", Amount("max", 50), 20) == "50"
    assert must_pids("max", Amount("more", 5), 20) == "25"
    assert must_pids("10", Amount("more", 5), 20) == "10"


def test_disks_keep_what_is_not_limited() -> None:
    amounts = (Amount("read", MIB), Amount("write", 2 * MIB))
    assert must_io("8:0 rbps=max wbps=4096 riops=9 wiops=max", amounts) == (
        f"8:0 rbps={MIB} wbps=4096 riops=9 wiops=max"
    )


def test_every_disk_in_use_is_a_value_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "io.stat").write_text("8:0 rbytes=1 wbytes=0\n8:16 rbytes=2 wbytes=0\n")
    (tmp_path / "io.max").write_text("8:16 rbps=max wbps=7 riops=max wiops=max\n")
    act = LimitIo(Folder(str(tmp_path)))
    assert act.must_open(VICTIM, READ).changes == (
        Change("io.max 8:0", f"8:0 {UNLIMITED}", f"8:0 rbps={MIB} wbps=max riops=max wiops=max"),
        Change(
            "io.max 8:16",
            "8:16 rbps=max wbps=7 riops=max wiops=max",
            f"8:16 rbps={MIB} wbps=7 riops=max wiops=max",
        ),
    )
    act.forget(VICTIM.cgroup)


def test_a_cgroup_that_has_used_no_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "io.stat").write_text("")
    (tmp_path / "io.max").write_text("")
    act = LimitIo(Folder(str(tmp_path)))
    with pytest.raises(AbsentError, match="no device"):
        act.must_open(VICTIM, READ)
    act.forget(VICTIM.cgroup)
