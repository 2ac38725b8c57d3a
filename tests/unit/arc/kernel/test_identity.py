"""Processes by identity where pidfds do not tell: pid, start, and a table of those that have ended."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel import identity
from controlplane.arc.kernel.identity import SLOTS, ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks


class Table:
    """As the kernel keeps it, with one process in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start_ns = must_start_ticks(pid) * TICK_NS + TICK_NS // 2
        self.fd = os.memfd_create("ended")
        os.ftruncate(self.fd, SLOTS * 8)

    def put(self, start_ns: int) -> None:
        """Of one in the same slot that has ended."""
        os.pwrite(self.fd, start_ns.to_bytes(8, "little"), self.pid % SLOTS * 8)

    def opens(self) -> bool:
        """Whether the process is taken for itself."""
        try:
            os.close(ByIdentity(self.fd).must_open(self.pid, self.start_ns, 0))
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    monkeypatch.setattr(identity, "pidfds_tell", lambda: False)
    with subprocess.Popen(["sleep", "60"]) as process:
        made = Table(process.pid)
        yield made
        process.kill()
    os.close(made.fd)


def test_who_has_not_ended_is_opened(table: Table) -> None:
    assert table.opens()


@pytest.mark.parametrize("later_ns", [0, 1, TICK_NS // 4])
def test_who_has_the_pid_of_one_that_ended_within_the_same_tick_is_not(table: Table, later_ns: int) -> None:
    table.put(table.start_ns + later_ns)
    assert not table.opens()


@pytest.mark.parametrize("later_ns", [-TICK_NS, -1, TICK_NS])
def test_the_end_of_others_in_the_same_slot_means_nothing(table: Table, later_ns: int) -> None:
    table.put(table.start_ns + later_ns)
    assert table.opens()


@pytest.mark.parametrize("later_ns", [-TICK_NS, TICK_NS])
def test_one_that_began_in_another_tick_is_somebody_else(table: Table, later_ns: int) -> None:
    table.start_ns += later_ns
    assert not table.opens()


def test_where_pidfds_tell_the_table_is_not_needed(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "pidfds_tell", lambda: True)
    table.put(table.start_ns)
    assert table.opens()


def test_nothing_stays_open_when_it_is_somebody_else(table: Table) -> None:
    table.put(table.start_ns)
    opener = ByIdentity(table.fd)
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(ProcessLookupError):
        opener.must_open_directory(table.pid, table.start_ns, 0)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
