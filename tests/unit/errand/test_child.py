"""The child that does errands, as the arc starts it: files of the test's own stand for the victim's."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.children import spawn
from controlplane.link.amounts import Way
from controlplane.link.errands import ENCODER, REPORTS, Order, Reclaim, Report
from tests.readable import writable

NS = 1_000_000_000
CURRENT = 1_000_000


def child(order: Order, *files: int) -> Report:
    """Start it, wait for its end and read its report."""
    given, report = os.memfd_create("order"), os.memfd_create("report")
    os.write(given, ENCODER.encode(order))
    pid = spawn("controlplane.errand", (), (given, report, *files))
    assert os.waitpid(pid, 0)[1] == 0
    try:
        return REPORTS.decode(os.pread(report, 65536, 0))
    finally:
        for fd in (given, report):
            os.close(fd)


@pytest.fixture
def current() -> Iterator[int]:
    """In place of memory.current."""
    with io.FileIO(os.memfd_create("memory.current"), "r+") as file:
        file.write(b"%d\n" % CURRENT)
        yield file.fileno()


@pytest.mark.parametrize(("number", "way", "written"), [(4096, "", b"4096"), (2500, "share", b"250000")])
def test_what_is_asked_for_is_written(current: int, number: int, way: Way, written: bytes) -> None:
    order = Order(errand=Reclaim(number=number, way=way), timeout_ns=10 * NS)
    with os.fdopen(os.memfd_create("memory.reclaim")) as reclaim:
        report = child(order, reclaim.fileno(), current)
        assert os.pread(reclaim.fileno(), 64, 0) == written
    assert (report.error, report.in_effect) == ("", False)
    assert report.detail == f"memory.current {CURRENT} -> {CURRENT}, asked for {written.decode()}"


def test_a_write_that_does_not_return_is_given_up(current: int) -> None:
    """As memory.reclaim may: a pipe that is full keeps its writer as well."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    while writable(write_end):
        os.write(write_end, bytes(4096))
    os.set_blocking(write_end, True)
    order = Order(errand=Reclaim(number=4096, way=""), timeout_ns=NS // 5)
    report = child(order, write_end, current)
    assert (report.error, report.detail.startswith("memory.current ")) == ("out of time", True)
    os.close(read_end)
    os.close(write_end)


def test_a_file_that_takes_nothing_is_told(current: int, tmp_path: Path) -> None:
    (tmp_path / "read-only").touch()
    order = Order(errand=Reclaim(number=4096, way=""), timeout_ns=10 * NS)
    with (tmp_path / "read-only").open() as file:
        report = child(order, file.fileno(), current)
    assert report.error == "Bad file descriptor"
