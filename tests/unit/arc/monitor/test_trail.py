"""The trail holds the last records, the oldest first, and grows no more after the first."""

import pytest

from controlplane.arc.kernel.events import Event
from controlplane.arc.kernel.sources import event_of
from controlplane.arc.monitor.trail import RECORDS, Trail
from controlplane.link.samples import Sample, samples_in


def event(number: int, culprit: int = 0) -> Event:
    made = event_of(1, 7, 2 * number, number, cgroup=7)
    return made._replace(culprit=culprit, pid=100 + number, parent=50, weight=3)


def noted(*numbers: int) -> Trail:
    trail = Trail()
    for number in numbers:
        record = event(number)
        trail.must_note(record, record.time_ns, record.value, record.weight, number / 2)
    return trail


def test_a_record_is_kept_as_it_was() -> None:
    (sample,) = samples_in(noted(5).must_copy())
    assert sample == Sample(5, 10.0, 2.5, 3, 105, 50, 7)


def test_whoever_ran_instead_is_kept_in_place_of_the_one_it_is_about() -> None:
    trail = Trail()
    trail.must_note(event(1, culprit=9), 1, 2, 3, 0.0)
    assert samples_in(trail.must_copy())[0].who == 9


@pytest.mark.parametrize("number", [0, 1, RECORDS - 1, RECORDS, RECORDS + 1, 2 * RECORDS, 5 * RECORDS - 1])
def test_the_last_ones_in_order(number: int) -> None:
    times = [sample.time_ns for sample in samples_in(noted(*range(number)).must_copy())]
    assert times == list(range(number))[-RECORDS:]


@pytest.mark.parametrize(("since", "found"), [(0, RECORDS), (35, 5), (39, 1), (40, 0)])
def test_events_since_a_time(since: int, found: int) -> None:
    assert noted(*range(40)).weight_since(since) == 3 * found


def test_nothing_was_told_yet() -> None:
    assert Trail().weight_since(0) == 0
    assert Trail().must_copy() == b""
