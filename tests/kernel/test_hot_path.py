"""`must_` functions keep their promise: called 100,000 times, they leave no allocated block behind."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.kernel.descriptors import Timer
from controlplane.arc.kernel.events import EVENT, Event, EventKind
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.monitor.streams import NOBODY, Monitor, Place
from controlplane.arc.monitor.tests import LevelTest, RateTest
from controlplane.arc.reflex.breaker import Breaker
from controlplane.arc.reflex.guards import Confirmation
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.identities import Identities
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.latency import LatencyHistogram
from controlplane.arc.reflex.stopping import FreezeProcess
from controlplane.arc.reflex.telling import Evidence, Reflex, must_finding, must_intent, must_outcome
from controlplane.arc.reflex.values import values_of
from controlplane.arc.reflex.victims import Victim
from controlplane.arc.reflex.weights import ReweighProcess
from controlplane.link.amounts import IDLE, Amount
from controlplane.link.records import Change, Lost
from controlplane.link.rules import NS, Confirm, Level, Poisson, Rate, Rule, Step
from tests.unit.arc.reflex.test_values import SETTINGS, Folder

TIMES = 100_000
WARM_UP = 5000
"""Fills the interpreter's free lists, which a collection empties (2,000 tuples of a size)."""
SLACK = 64
"""Blocks the interpreter itself may take and keep: free lists, inline caches."""

RULE = Rule(name="r", signal="process.fork", test=Rate(NS, 1), ladder=(Step("freeze", for_ns=NS),))
EVENT_ONE = Event(NS, 1, NS, 7, 7, 0, 10, 0, 1, 1, 1, 0, 0, 1, EventKind.SIGNAL, 0, b"sh".ljust(16, b"\0"))
VICTIM = Victim(7, "/a")
CHANGES = (Change("cgroup.freeze", "0", "1"),)
RAW = EVENT.pack(*EVENT_ONE)

Called = Callable[[], object]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    fd = os.open(tmp_path, os.O_RDONLY)
    journal = Journal(fd, 1 << 20, 2, os.getgid(), tuple)
    yield journal
    journal.close()
    os.close(fd)


def blocks_kept_by(call: Called, times: int = TIMES, warm_up: int = WARM_UP) -> int:
    """Difference in allocated blocks over many calls, after some to warm up."""
    gc.collect()
    gc.disable()
    for _ in range(warm_up):
        call()
    before = sys.getallocatedblocks()
    for _ in range(times):
        call()
    after = sys.getallocatedblocks()
    gc.enable()
    return after - before


def monitor() -> tuple[Monitor, Place]:
    made = Monitor({"process.fork": 1})
    made.set_rules([RULE])
    return made, made.name(7, "/a")


def nothing(*_: object) -> None:
    pass


def appended(journal: Journal) -> Called:
    record = Lost(time_ns=1, sensor="cpu", reason="ring", count=1)

    def call() -> None:
        journal.must_append(record)
        journal.tend()

    return call


def felt() -> Called:
    made, place = monitor()
    return lambda: made.must_feel(place, EVENT_ONE, nothing)


def made_records() -> Called:
    _, place = monitor()
    evidence = Evidence(place, place, NOBODY, RateTest(Rate(NS, 1)), EVENT_ONE, "observe")
    identities = Identities()
    reflex = Reflex(RULE, VICTIM, evidence, identities.must_trace(), identities.must_span(), NS, NS)

    def call() -> None:
        must_finding(reflex, evidence, "1")
        intent = must_intent(reflex, 0, RULE.ladder[0], "enforce", CHANGES, identities.must_span())
        must_outcome(reflex, intent, NS, "")

    return call


def guarded() -> Called:
    breaker = Breaker(5, 1)
    return lambda: breaker.must_allow("r", time.monotonic_ns())


def confirmed() -> Called:
    """A second signal is felt, and asked for."""
    made = Monitor({"process.fork": 1, "process.exec": 2})
    rule = msgspec.structs.replace(RULE, test=Poisson(1000), confirm=Confirm("process.exec", Rate(NS, 1)))
    made.set_rules([rule])
    place, confirmation = made.name(7, "/a"), Confirmation(made.must_confirmed)
    test = made.begin(place, 1)[0].must_test_for(EVENT_ONE)
    second = EVENT_ONE._replace(signal=2)

    def call() -> None:
        made.must_feel(place, second, nothing)
        confirmation.must_miss(rule, test, 7, time.monotonic_ns())

    return call


def rated() -> Called:
    test = RateTest(Rate(NS, 1))
    return lambda: test.must_update(time.monotonic_ns(), NS, 1, 1)


def levelled() -> Called:
    test = LevelTest(Level(1))
    return lambda: test.must_update(NS, NS, time.monotonic_ns(), 1)


def observed() -> Called:
    histogram = LatencyHistogram()
    return lambda: histogram.must_observe(30_000, b"t" * 16, NS)


def shared() -> Called:
    """Values that another reflex holds already."""
    holdings, act = Holdings(), ReweighProcess(ByIdentity())
    place, found = monitor()[1], (Change("nice", "0", "10"), Change("ionice", "none", "idle"))
    evidence = Evidence(place, place, NOBODY, RateTest(Rate(NS, 1)), EVENT_ONE, "enforce")
    reflex = Reflex(RULE, VICTIM, evidence, b"t" * 16, b"r" * 8, NS, NS)
    intent = must_intent(reflex, 0, RULE.ladder[0], "enforce", found, b"s" * 8)

    def call() -> None:
        holdings.must_changes(VICTIM, found)
        holdings.must_hold(reflex, act, intent)

    return call


def armed() -> Called:
    timer = Timer()
    return lambda: timer.must_arm(time.monotonic_ns() + NS)


CALLS: dict[str, Callable[[], Called]] = {
    "decode": lambda: lambda: Event._make(EVENT.unpack_from(RAW)),
    "rate": rated,
    "level": levelled,
    "feel": felt,
    "records": made_records,
    "guards": guarded,
    "confirmation": confirmed,
    "latency": observed,
    "holdings": shared,
    "timer": armed,
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_kept(name: str) -> None:
    assert blocks_kept_by(CALLS[name]()) < SLACK


def test_the_journal_keeps_nothing(journal: Journal) -> None:
    assert blocks_kept_by(appended(journal)) < SLACK


def test_setting_values_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpu.weight").write_text("100\n")
    act = values_of("reweigh", Folder(str(tmp_path)), SETTINGS)
    step = Step("reweigh", for_ns=NS, amounts=(Amount("cpu", 500),))

    def call() -> None:
        opened = act.must_open(VICTIM, step)
        act.must_apply(opened)
        act.must_have(VICTIM, opened.changes)
        act.must_release(opened)

    assert blocks_kept_by(call) < SLACK
    act.forget(VICTIM.cgroup)


def test_setting_priorities_keeps_nothing() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        act, victim = (
            ReweighProcess(ByIdentity()),
            Victim(7, "/a", process.pid, must_start_ticks(process.pid) * TICK_NS),
        )
        step = Step("reweigh", for_ns=NS, amounts=(Amount("nice", 10), Amount("ionice", IDLE)))

        def call() -> None:
            opened = act.must_open(victim, step)
            act.must_apply(opened)
            act.must_have(victim, opened.changes)
            act.must_release(opened)

        kept = blocks_kept_by(call, 5000)
        process.kill()
    assert kept < SLACK


def test_stopping_a_process_keeps_nothing() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        act, victim = (
            FreezeProcess(ByIdentity()),
            Victim(7, "/a", process.pid, must_start_ticks(process.pid) * TICK_NS),
        )

        def call() -> None:
            opened = act.must_open(victim, RULE.ladder[0])
            act.must_apply(opened)
            act.must_have(victim, opened.changes)
            act.must_release(opened)

        kept = blocks_kept_by(call, 5000)
        process.kill()
    assert kept < SLACK


def test_what_keeps_something_is_noticed() -> None:
    kept: list[object] = []
    assert blocks_kept_by(lambda: kept.append(object())) > TIMES / 2
