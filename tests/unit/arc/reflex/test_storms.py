"""Storms of findings: one record, and how often it fired since, whether another finding comes or not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.sources import event_of
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.reflex import storms
from controlplane.arc.reflex.storms import SETTLE_NS
from controlplane.link.records import Finding, Repeated
from controlplane.link.rules import NS, Rate
from tests.unit.arc.reflex.test_ladder import A, Ladder

COOLDOWN_NS = 60 * NS


class Storm(Ladder):
    """A stream that is felt by a monitor of its own."""

    def __init__(self, folder: Path, **changes: object) -> None:
        super().__init__(folder, test=Rate(NS, 0), cooldown_ns=COOLDOWN_NS, **changes)
        self._monitor = Monitor({self.rule.signal: 1})
        self._monitor.set_rules([self.rule])
        self._monitor.must_storm = self.engine.storms.must_begin

    def feel(self, at_ns: int, times: int = 1, pid: int = 1, cgroup: int = A) -> None:
        place = self._monitor.places.get(cgroup) or self._monitor.name(cgroup, "/a")
        for _ in range(times):
            event = event_of(1, cgroup, 5, at_ns, cgroup)._replace(pid=pid)
            self._monitor.must_feel(place, event, self.engine.must_begin)

    def die(self) -> None:
        self._monitor.forget(A)

    def wakes_at(self) -> int:
        """The timer of the arc."""
        return self.engine.next_due()

    def run_to(self, now_ns: int) -> None:
        """Every deadline until then, as the timer tells of them."""
        while 0 < (due_ns := self.engine.next_due()) <= now_ns:
            self.engine.run_due(due_ns)

    def findings(self) -> list[int]:
        return [one.repeats for one in self.told() if isinstance(one, Finding)]

    def repeated(self) -> list[Repeated]:
        return [one for one in self.told() if isinstance(one, Repeated)]


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Callable[..., Storm]]:
    made: list[Storm] = []

    def make(**changes: object) -> Storm:
        made.append(Storm(tmp_path, **changes))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_storm_that_is_over_is_told_with_its_count(storm: Callable[..., Storm]) -> None:
    run = storm()
    run.feel(NS)
    run.feel(2 * NS, times=1000)
    assert (run.findings(), run.repeated()) == ([0], [])
    over_ns = NS + COOLDOWN_NS + SETTLE_NS
    assert run.wakes_at() == over_ns
    run.run_to(over_ns - 1)
    assert run.repeated() == []
    run.run_to(over_ns)
    (told,) = run.repeated()
    (finding,) = (record for record in run.told() if isinstance(record, Finding))
    assert (told.trace_id, told.span_id) == (finding.trace_id, finding.span_id)
    assert (told.repeats, told.lasted_ns, told.time_ns) == (1000, NS, over_ns)
    assert (told.cgroup, told.path, told.stream) == (A, "/a", "")
    assert run.wakes_at() == 0


def test_one_finding_alone_says_nothing_more(storm: Callable[..., Storm]) -> None:
    run = storm()
    run.feel(NS)
    assert (run.findings(), run.wakes_at()) == ([0], 0)


def test_what_the_next_finding_has_told_is_not_told_again(storm: Callable[..., Storm]) -> None:
    run = storm()
    for number in range(3):
        run.feel(NS + number * COOLDOWN_NS, times=101)
        run.run_to(NS + number * COOLDOWN_NS + SETTLE_NS)
    assert (run.findings(), run.repeated()) == ([0, 100, 100], [])
    run.run_to(NS + 3 * COOLDOWN_NS + SETTLE_NS)
    (last,) = run.repeated()
    assert (sum(run.findings()) + last.repeats, run.wakes_at()) == (300, 0)


def test_a_stream_has_one_deadline_however_many_findings(storm: Callable[..., Storm]) -> None:
    run = storm(per="process")
    run.feel(NS, times=2)
    for pid in range(2, 1000):
        run.feel(NS + pid, pid=pid)
    assert len(run.findings()) == 999
    assert len(list(run.engine._agenda)) == 1
    run.run_to(NS + 1000 + COOLDOWN_NS + SETTLE_NS)
    assert len(run.findings()) == 999
    assert sum(run.findings()) + sum(one.repeats for one in run.repeated()) == 1
    assert run.wakes_at() == 0


def test_a_storm_that_its_cgroup_did_not_outlive_is_told(storm: Callable[..., Storm]) -> None:
    run = storm()
    run.feel(NS, times=10)
    run.die()
    run.run_to(NS + COOLDOWN_NS + SETTLE_NS)
    assert [one.repeats for one in run.repeated()] == [9]


def test_at_the_end_of_the_daemon_what_is_untold_is_told(storm: Callable[..., Storm]) -> None:
    run = storm()
    run.feel(NS, times=10)
    run.engine.storms.tell_all()
    run.engine.storms.tell_all()
    assert [one.repeats for one in run.repeated()] == [9]


def test_what_is_remembered_is_bounded(storm: Callable[..., Storm], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "MAX_COOLING", 3)
    run = storm()
    for cgroup in (A, *range(100, 110)):
        run.feel(NS, times=2, cgroup=cgroup)
    assert len(run.findings()) == 11
    run.run_to(NS + COOLDOWN_NS + SETTLE_NS)
    assert len(run.repeated()) == 3
    for cgroup in range(200, 210):
        run.feel(100 * NS, cgroup=cgroup)
    assert len(run.engine.storms._last) == 3
