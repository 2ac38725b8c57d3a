"""Histogram betting in the kernel against the same arithmetic in Python, bucket by bucket."""

import random
from array import array
from collections.abc import Callable, Iterator

import pytest

from controlplane.arc.kernel.bets import SLOTS
from controlplane.arc.kernel.events import Counter, Event, EventKind, Gate, Signal
from controlplane.arc.monitor.betting import FIRST_TABLE, Baseline
from controlplane.arc.monitor.buckets import BUCKETS, WHOLE, must_bucket
from controlplane.arc.monitor.gates import BETS, NO_LEVEL, OPEN, ROUND_NS
from controlplane.arc.monitor.integer import AGAIN, DUE, NEWS, UNIT, IntegerBets, bits_table
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import Felt, feeling
from tests.kernel.placing import Placing

KEY = 2**40 + 1
SIGNAL = "block.latency"


@pytest.fixture
def felt() -> Iterator[Felt]:
    with feeling("core") as made:
        gate = Gate(ROUND_NS, NO_LEVEL, 0, OPEN | BETS)
        made.sensors.set_gates(
            {name: gate if name == SIGNAL else Gate(0, 0, 0, 0) for name in made.sensors.numbers}
        )
        yield made


@pytest.fixture
def placing(felt: Felt) -> Iterator[Placing]:
    with Placing(felt.sensors.shared()) as made:
        yield made


def odds_for(values: list[int]) -> "array[int]":
    fresh = array("I", bytes(4 * BUCKETS))
    for value in values:
        fresh[max(WHOLE, must_bucket(value))] += 1
    baseline = Baseline()
    baseline.must_learn(fresh, len(values))
    baseline.must_set_odds()
    return bits_table(baseline.payoffs[WHOLE:])


def values_of(seed: int, number: int, factor: float) -> list[int]:
    draw = random.Random(seed)
    made = [int(draw.lognormvariate(10, 2) * factor) for _ in range(number - 6)]
    return [0, 1, 2, 2**39, 2**40, 2**63, *made]


def drained(felt: Felt, key: int = KEY) -> list[Event]:
    """Of one stream: the devices of this machine have streams of that signal, too."""
    got: list[Event] = []
    while felt.ring.must_drain(got.append):
        pass
    kinds = (EventKind.BET, EventKind.SUMMARY)
    return [event for event in got if event.kind in kinds and event.key == key]


@pytest.mark.parametrize("half", [0, 1, 3])
def test_kernel_and_python_agree(felt: Felt, placing: Placing, half: int) -> None:
    twin = IntegerBets(BUCKETS - WHOLE)
    usual, slot = values_of(1, 3000, 1), 0
    table = odds_for(usual)
    for number, value in enumerate([*usual, *values_of(2, 2000, 8), *values_of(3, 2000, 1)], 1):
        placing.value(KEY, value)
        told = twin.must_take(max(0, must_bucket(value) - WHOLE))
        events = drained(felt)
        kinds = [EventKind.SUMMARY] * bool(told & DUE) + [EventKind.BET] * bool(told & NEWS)
        assert [event.kind for event in events] == kinds
        assert all(event.signal == Signal.BLOCK_LATENCY and event.key == KEY for event in events)
        if told & NEWS:
            assert events[-1].statistic == twin.statistic
        if told & DUE:
            slot = events[0].slot
            made = (20 * UNIT, 10 * UNIT, 34 * UNIT, half, number + 1000)
            felt.sensors.bets.must_set(slot, KEY, *made, table.tobytes())
            twin.must_set(*made, table)
            assert felt.sensors.bets.must_read(slot) == twin.counted()
    assert felt.sensors.bets.must_read(slot) == twin.counted()


def slot_of(felt: Felt, placing: Placing, key: int) -> int:
    for _ in range(FIRST_TABLE):
        placing.value(key, 5)
    (summary,) = drained(felt, key)
    assert (summary.kind, summary.key) == (EventKind.SUMMARY, key)
    return summary.slot


def test_the_slot_of_a_dead_cgroup_goes_blank_to_another(
    felt: Felt, placing: Placing, make_cgroup: Callable[[], TestCgroup]
) -> None:
    first = make_cgroup()
    slot = slot_of(felt, placing, first.id)
    felt.sensors.bets.must_set(slot, first.id, 1, 1, UNIT, 0, 10**6, bytes(2 * 162))
    first.remove()
    felt.life(EventKind.CGROUP_GONE, first.id)
    second = make_cgroup()
    assert slot_of(felt, placing, second.id) == slot
    counted = felt.sensors.bets.must_read(slot)
    assert (counted.gathered, counted.looks) == (FIRST_TABLE, 0)


def test_odds_for_another_are_not_taken(felt: Felt, placing: Placing) -> None:
    slot = slot_of(felt, placing, KEY)
    scores = array("h", [UNIT] * 162).tobytes()
    felt.sensors.bets.must_set(slot, KEY + 1, 1, 1, UNIT, 0, 10**6, scores)
    for _ in range(100):
        placing.value(KEY, 5)
    assert drained(felt) == []
    felt.sensors.bets.must_set(slot, KEY, 1, 1, UNIT, 0, 10**6, scores)
    placing.value(KEY, 5)
    assert [event.kind for event in drained(felt)] == [EventKind.BET]


def test_a_summary_that_is_not_heeded_comes_again(felt: Felt, placing: Placing) -> None:
    slot_of(felt, placing, KEY)
    for _ in range(AGAIN - 1):
        placing.value(KEY, 5)
    assert drained(felt) == []
    placing.value(KEY, 5)
    assert [event.kind for event in drained(felt)] == [EventKind.SUMMARY]


def test_values_for_whose_bets_there_is_no_room_are_counted(placing: Placing) -> None:
    for key in range(SLOTS):
        placing.value(2**41 + key, 5)
    assert placing.counted(Counter.LOST_SLOTS) >= 1  # slot 0 is nobody's
    placing.value(2**42, 5)
    assert placing.counted(Counter.LOST_STREAMS) >= 1
