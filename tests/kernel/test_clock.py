"""The wall clock is set: records after it have the right time. Only in a machine of our own is it set."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from controlplane.arc.kernel.descriptors import WallClock
from controlplane.arc.reflex.journal import list_segments, read_records
from controlplane.link.records import Notice
from controlplane.link.segment import Header
from tests.kernel.conftest import Turned
from tests.readable import readable

HOUR_S = 3600


@pytest.fixture
def wall_clock() -> Iterator[Callable[[float], None]]:
    """Sets it ahead; it is put back at the end."""
    if "VM_REPO" not in os.environ:
        pytest.skip("the clock of this machine is not ours to set; `make vm` runs this")
    ahead = 0.0

    def advance(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)

    yield advance
    time.clock_settime(time.CLOCK_REALTIME, time.time() - ahead)


def newest(turned: Turned) -> Header:
    """Of the segment that the last record lies in."""
    directory = os.open(f"{turned.config.runtime_dir}/journal", os.O_RDONLY)
    try:
        return list(read_records(directory))[-1][0]
    finally:
        os.close(directory)


def segments(turned: Turned) -> int:
    directory = os.open(f"{turned.config.runtime_dir}/journal", os.O_RDONLY)
    try:
        return len(list_segments(directory))
    finally:
        os.close(directory)


def has_more(turned: Turned, than: int) -> bool:
    return segments(turned) > than


def test_while_time_only_passes_it_is_silent() -> None:
    clock = WallClock()
    assert not readable(clock.fd, 0.05)
    assert not clock.was_set()


def test_a_segment_is_begun_when_the_clock_is_set(
    turn: Callable[..., Turned], wall_clock: Callable[[float], None]
) -> None:
    turned = turn()
    before = newest(turned)
    for number in (1, 2):
        begun = segments(turned)
        wall_clock(HOUR_S)
        turned.turn_until(partial(has_more, turned, begun))
        turned.arc._notice("test.noticed", "after the clock was set")
        after = newest(turned)
        moved_s = (after.wall_offset_ns - before.wall_offset_ns) / 1e9
        assert moved_s == pytest.approx(number * HOUR_S, abs=5)
    (notice, _) = (record for record in turned.of(Notice) if record.name == "test.noticed")
    assert notice.time_ns < time.monotonic_ns()
