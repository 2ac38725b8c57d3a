"""What is gathered for a finding, in which bounds."""

from collections import deque

import msgspec
import pytest

from controlplane.arc.kernel.events import Event
from controlplane.arc.kernel.sources import event_of
from controlplane.arc.monitor import tests as monitored
from controlplane.arc.monitor.streams import NOBODY, Monitor, Place
from controlplane.arc.monitor.trail import RECORDS
from controlplane.arc.reflex import telling
from controlplane.arc.reflex.evidence import (
    BURST,
    INTERVAL_NS,
    MAX_PATH,
    RIVALS,
    Gathering,
    Held,
    buckets_of,
    cut,
    must_hold,
    oftenest,
)
from controlplane.arc.reflex.victims import Victim
from controlplane.link.frames import Stream
from controlplane.link.records import ENCODER, Bucket, Evidence, Record
from controlplane.link.rules import NS, Poisson, Rate, Rule
from controlplane.link.samples import samples_in

NOW = 100 * NS
MAX_BYTES = 4096


def rule(name: str = "storm", **changes: object) -> Rule:
    return Rule(name=name, signal="process.fork", test=Rate(NS, 1), **changes)  # type: ignore[arg-type]


class Bench:
    """A monitor with places, and what was journalled."""

    def __init__(self, *rules: Rule, places: int = 2, path: str = "/c{}", count: int = 100) -> None:
        self.monitor = Monitor({"process.fork": 1})
        self.monitor.set_rules(rules or [rule()])
        self.places = [self.monitor.name(number, path.format(number)) for number in range(1, places + 1)]
        self.held: deque[Held] = deque()
        self.told: list[Record] = []
        self.breaths = 0
        self.stream = Stream(signal="process.fork", unit="1", cgroup=1, path="", count=count)
        self.gathering = Gathering(self.held, self.monitor, self.read, self.told.append, self.breathe)

    def read(self, place: Place, signal: str) -> Stream | None:
        return self.stream if place.cgroup and signal == "process.fork" else None

    def breathe(self) -> None:
        self.breaths += 1

    def feel(
        self, cgroup: int, time_ns: int = NOW, pid: int = 70, parent: int = 60, culprit: int = 0
    ) -> None:
        event = event_of(1, cgroup, 2, time_ns, cgroup)
        event = event._replace(weight=2, pid=pid, parent=parent, culprit=culprit, comm=b"x")
        self.monitor.must_feel(self.monitor.places[cgroup], event, self.fired)

    def fired(
        self, place: Place, who: Place, culprit: Place, rule: Rule, test: monitored.Test, event: Event
    ) -> None:
        evidence = telling.Evidence(place, who, culprit, test, event, "observe")
        victim = Victim(who.cgroup, who.path)
        self.held.append(
            must_hold(telling.Reflex(rule, victim, evidence, b"t" * 16, b"r" * 8, NOW, NOW), evidence)
        )

    def tell(self, now_ns: int = NOW) -> list[Evidence]:
        self.gathering.tell(now_ns)
        return [record for record in self.told if isinstance(record, Evidence)]


def test_the_trail_is_as_it_was_when_the_test_fired() -> None:
    bench = Bench()
    for number in range(3):
        bench.feel(1, NOW + number)
    first, *_ = bench.tell()
    assert [sample.time_ns for sample in samples_in(first.trail)] == [NOW]
    assert (first.trace_id, first.span_id, first.rule) == (b"t" * 16, b"r" * 8, "storm")
    assert first.itself.recent == 2
    assert first.itself.total == 100


def test_rivals_are_those_of_which_most_was_told_lately() -> None:
    bench = Bench(places=9)
    bench.feel(8, NOW - 20 * NS)
    for cgroup in range(2, 10):
        for number in range(cgroup):
            bench.feel(cgroup, NOW - 5 * NS + number)
    bench.held.clear()
    bench.feel(1)
    (evidence,) = bench.tell()
    assert [(rival.path, rival.recent) for rival in evidence.rivals[:3]] == [
        ("/c9", 18),
        ("/c8", 16),
        ("/c7", 14),
    ]
    assert len(evidence.rivals) == RIVALS
    assert bench.breaths == 1


def test_a_rule_that_learns_is_told_with_its_budget() -> None:
    learning = msgspec.structs.replace(rule(), test=Poisson(allowed_ns=7 * 86400 * NS))
    bench = Bench(learning)
    for number in range(1000):
        bench.feel(1, NOW + number * NS // 100)
    place = bench.places[0]
    bench.fired(place, place, NOBODY, learning, monitored.RateTest(Rate(NS, 1)), event_of(1, 1, 1, NOW))
    (evidence,) = bench.tell(NOW + 10 * NS)
    budget = bench.monitor.budgets["storm"]
    assert evidence.allowed == budget.events > 2
    assert evidence.tests_per_s == budget.rate_per_s(NOW + 10 * NS) > 0
    assert evidence.streams == budget.streams == 1


def test_a_few_of_many_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.arc.reflex.evidence.MAX_COMPARED", 2)
    bench = Bench(places=5)
    for cgroup in (5, 4, 3, 1):
        bench.feel(cgroup)
    assert [rival.path for rival in bench.tell()[-1].rivals] == ["/c3"]


def test_a_process_that_is_not_known_leaves_its_parent() -> None:
    bench = Bench()
    bench.feel(1, pid=0)
    assert [(one.pid, one.parent) for one in bench.tell()[0].suspects] == [(60, True)]
    bench.feel(1, pid=0, parent=0)
    assert [one.pid for one in bench.tell()[1].suspects] == [60]


def test_a_stream_that_was_not_told_of_lately_is_no_rival() -> None:
    bench = Bench()
    bench.feel(2, NOW - 20 * NS)
    bench.held.clear()
    bench.feel(1)
    assert bench.tell()[0].rivals == ()


def test_suspects_are_cgroups_where_the_signal_names_any() -> None:
    bench = Bench()
    for culprit in (2, 2, 555, 0):
        bench.feel(1, culprit=culprit)
    suspects = bench.tell()[-1].suspects
    assert [(one.cgroup, one.path, one.pid, one.records) for one in suspects] == [
        (2, "/c2", 0, 2),
        (555, "", 0, 1),
    ]


def test_else_the_process_named_oftenest() -> None:
    bench = Bench()
    for pid in (70, 70, 71):
        bench.feel(1, pid=pid, parent=pid)
    first, second = bench.tell()[-1].suspects
    assert (first.pid, first.records, first.parent) == (70, 2, False)
    assert (second.pid, second.comm) == (71, "x")


def test_or_the_parent_of_processes_each_named_once() -> None:
    bench = Bench()
    for pid in (70, 71, 72):
        bench.feel(1, pid=pid)
    (suspect,) = bench.tell()[-1].suspects
    assert (suspect.pid, suspect.records, suspect.parent) == (60, 3, True)


def test_a_rule_for_processes_is_explained_by_the_records_of_that_process() -> None:
    bench = Bench(rule(per="process"))
    for pid in (70, 71, 71):
        bench.feel(1, pid=pid)
    assert [len(samples_in(evidence.trail)) for evidence in bench.tell()] == [1, 1, 2]


def test_findings_that_come_too_fast_go_without() -> None:
    bench = Bench()
    for _ in range(BURST + 10):
        bench.feel(1)
    assert len(bench.tell()) == BURST
    assert not bench.held
    bench.feel(1)
    assert len(bench.tell(NOW + INTERVAL_NS)) == BURST + 1


def test_the_greatest_fits_in_four_kibibytes() -> None:
    bench = Bench(rule("r" * 63), places=RIVALS + 3, path="/" + "\u00e9" * 4000 + "{}", count=2**62)
    bench.stream = Stream(
        signal="process.fork", unit="1", cgroup=1, path="", count=2**62, histogram=(2**32 - 1,) * 40
    )
    for cgroup in range(2, RIVALS + 4):
        bench.feel(cgroup, NOW, 2**32 - 1, 2**32 - 1)
    bench.held.clear()
    for number in range(RECORDS):
        bench.feel(1, NOW + number, 2**32 - 1, culprit=2 + number % 2)
    evidence = bench.tell()[-1]
    assert len(samples_in(evidence.trail)) == RECORDS
    assert len(ENCODER.encode(evidence)) <= MAX_BYTES


def test_a_place_whose_rule_is_gone_has_no_trail() -> None:
    test, event = monitored.RateTest(Rate(NS, 1)), event_of(1, 1, 1, NOW)
    evidence = telling.Evidence(NOBODY, NOBODY, NOBODY, test, event, "observe")
    reflex = telling.Reflex(rule(), Victim(0, ""), evidence, b"", b"", 0, 0)
    assert must_hold(reflex, evidence).trail == b""


@pytest.mark.parametrize(
    ("histogram", "buckets"),
    [((), ()), ((0, 0), ()), ((3, 0, 1, 0), (Bucket(0.0, 3), Bucket(2.0, 0), Bucket(4.0, 1)))],
)
def test_a_histogram_from_its_first_value_to_its_last(histogram: tuple[int, ...], buckets: object) -> None:
    assert buckets_of(histogram) == buckets


def test_a_path_is_cut_at_its_beginning() -> None:
    assert cut("/short") == "/short"
    assert cut("/" + "a" * 300 + "/end").endswith("aaa/end")
    assert len(cut("/" + "\u20ac" * 300).encode()) <= MAX_PATH
    assert cut("/\udcff") == "/?"


def test_whoever_comes_oftenest() -> None:
    assert oftenest([3, 1, 1, 2, 2, 2]) == [(2, 3), (1, 2)]
    assert oftenest([]) == []
