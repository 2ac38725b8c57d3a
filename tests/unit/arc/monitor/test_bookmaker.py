"""Odds set for the kernel: what is written, for whom, and what is kept over a restart."""

import random
from array import array
from math import log2

import pytest

from controlplane.arc.kernel.events import Bet, Event, EventKind
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.bookmaker import Bookmaker, floor_of
from controlplane.arc.monitor.buckets import WHOLE, must_bucket
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.integer import DUE, NEWS, UNIT, IntegerBets
from controlplane.arc.monitor.past import FOR_GOOD, FOR_GOOD_NS, ROOM, Past, SavedPast
from controlplane.link.rules import NS

SIGNAL, KEY, SLOT = 5, 77, 3
DAY = 24 * 3600 * NS
STEP_NS = NS // 100


class Slot:
    """The kernel's one slot."""

    def __init__(self) -> None:
        self.bets = IntegerBets(162)
        self.writes = 0

    def must_read(self, slot: int) -> Bet:
        assert slot == SLOT
        return self.bets.counted()

    def must_set(
        self, slot: int, key: int, threshold: int, over: int, most: int, half: int, due: int, scores: bytes
    ) -> None:
        assert (slot, key) == (SLOT, KEY)
        self.writes += 1
        self.bets.must_set(threshold, over, most, half, due, array("h", scores))


class Game:
    """A stream, its slot and the bookmaker."""

    def __init__(self, tests: list[BetsTest]) -> None:
        self.slot = Slot()
        self.adapted = 0
        self.maker = Bookmaker(self.slot)
        self.tests = tests
        self.now_ns = 1
        self.found: list[float] = []

    def play(self, seed: int, number: int, factor: float = 1, step_ns: int = STEP_NS) -> None:
        draw = random.Random(seed)
        for _ in range(number):
            self.now_ns += step_ns
            value = int(draw.lognormvariate(10, 1) * factor)
            told = self.slot.bets.must_take(must_bucket(value) - WHOLE)
            if told & DUE:
                self.adapted += self.maker.summarise(self.event(EventKind.SUMMARY), self.tests)
            if told & NEWS:
                self.tell()

    def tell(self) -> None:
        event = self.event(EventKind.BET)
        for test in self.tests:
            if test.must_update(event.time_ns, 0, event.statistic, 1):
                self.found.append(test.statistic)
        self.maker.note(event)

    def event(self, kind: EventKind) -> Event:
        statistic = self.slot.bets.statistic
        return Event(self.now_ns, 0, 0, KEY, KEY, 0, 0, 0, 0, 0, 1, statistic, SLOT, SIGNAL, kind, 0, b"")


def betting(allowed_ns: int = DAY, above: int = 0) -> BetsTest:
    return BetsTest(above, Budget(allowed_ns))


def test_the_threshold_follows_from_the_budget() -> None:
    test = betting()
    game = Game([test])
    game.play(1, 20_000)
    wanted = log2(100 * 24 * 3600)
    assert test.threshold == pytest.approx(wanted, abs=0.5)
    assert game.slot.bets.threshold == pytest.approx(wanted * UNIT, abs=UNIT)
    assert game.slot.bets.over == game.slot.bets.threshold // 2
    assert game.slot.bets.most == game.slot.bets.threshold + ROOM


def test_a_shift_is_found_and_nothing_before() -> None:
    game = Game([betting()])
    game.play(1, 20_000)
    assert game.found == []
    game.play(2, 100, factor=8)
    assert game.found


def test_of_two_rules_the_kernel_serves_the_more_lenient() -> None:
    often, seldom = betting(3600 * NS), betting(7 * DAY)
    game = Game([seldom, often])
    game.play(1, 20_000)
    assert often.threshold < seldom.threshold
    assert game.slot.bets.threshold == int(often.threshold * UNIT)


def test_a_stream_without_rules_is_left_alone() -> None:
    game = Game([])
    game.play(1, 20_000)
    assert game.slot.writes == 1
    assert game.slot.bets.most == 0
    assert game.maker.pasts == {}


def test_a_change_for_good_is_told_once() -> None:
    game = Game([betting()])
    game.play(1, 20_000)
    game.play(2, 4 * FOR_GOOD, factor=8, step_ns=FOR_GOOD_NS // FOR_GOOD)
    assert game.adapted == 1


def test_a_dead_cgroup_leaves_no_past() -> None:
    game = Game([betting()])
    game.play(1, 1000)
    assert list(game.maker.pasts) == [(SIGNAL, KEY)]
    game.maker.forget(KEY)
    assert game.maker.pasts == {}


def test_a_restart_keeps_what_was_learned() -> None:
    before = Game([betting()])
    before.play(1, 20_000)
    after = Game([betting()])
    after.now_ns = before.now_ns
    after.maker.restore(before.maker.saved(), after.now_ns)
    after.play(2, 300)
    after.play(3, 100, factor=8)
    assert after.found


SAVED = Past(0, 0).saved(SIGNAL, KEY)


@pytest.mark.parametrize(
    "damaged",
    [
        SAVED._replace(counts=b""),
        SAVED._replace(counts=array("f", [-1.0] * 242).tobytes()),
        SAVED._replace(counts=array("f", [float("nan")] * 242).tobytes()),
        SAVED._replace(handicap=float("inf")),
        SAVED._replace(handicap=0.0),
        SAVED._replace(half=-1),
        SAVED._replace(began_ns=10**18),
        SAVED._replace(counts=b"odd"),
    ],
)
def test_what_cannot_have_been_is_left_out(damaged: SavedPast) -> None:
    game = Game([])
    game.maker.restore([damaged], 1)
    assert game.maker.pasts == {}


def test_the_floor_is_the_bucket_of_the_level() -> None:
    assert floor_of(0) == 0
    assert floor_of(10_000_000) == must_bucket(10_000_000)
