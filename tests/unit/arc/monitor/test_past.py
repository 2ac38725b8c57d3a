"""What the arc learns of a stream that bets in the kernel, with the kernel's part in Python."""

import random
from array import array
from collections.abc import Iterable
from math import exp

from controlplane.arc.monitor.betting import WARM_UP
from controlplane.arc.monitor.buckets import WHOLE, must_bucket
from controlplane.arc.monitor.integer import DUE, NEWS, UNIT, IntegerBets
from controlplane.arc.monitor.past import DAY_NS, FOR_GOOD, FOR_GOOD_NS, LONGEST_NS, MEMORY, Past
from controlplane.link.rules import NS

BITS = 20
KERNEL_BUCKETS = 162
STEP_NS = NS // 100


class Stream:
    """A slot of the kernel and its past, with the clock in hand."""

    def __init__(self, floor: int = 0) -> None:
        self.bets = IntegerBets(KERNEL_BUCKETS)
        self.past = Past(0, floor)
        self.now_ns = 0
        self.alarms = self.tables = 0
        self.spacing_ns = 0
        self._summary_ns = 0

    def feed(self, values: Iterable[float], step_ns: int = STEP_NS) -> None:
        for value in values:
            self.now_ns += step_ns
            told = self.bets.must_take(max(0, must_bucket(int(value)) - WHOLE))
            if told & DUE:
                self.summarise()
            if told & NEWS:
                self.past.note(self.bets.counted(), self.now_ns)
                self.alarms += self.bets.statistic >= BITS * UNIT

    def summarise(self) -> None:
        self.tables += 1
        self.spacing_ns, self._summary_ns = self.now_ns - self._summary_ns, self.now_ns
        counted = self.bets.counted()
        self.past.learn(counted, self.now_ns, BITS * UNIT / 4)
        self.set_odds(counted.gathered)

    def set_odds(self, gathered: int) -> None:
        made = self.past.odds(gathered, BITS, BITS)
        self.bets.must_set(*made[:-1], array("h", made.scores))


def steady(seed: int, number: int, factor: float = 1.0) -> list[float]:
    draw = random.Random(seed)
    return [draw.lognormvariate(10, 1) * factor for _ in range(number)]


def test_it_is_armed_when_it_has_seen_enough_and_not_before() -> None:
    stream = Stream()
    stream.feed(steady(1, WARM_UP - 1))
    assert not stream.past.armed
    stream.feed(steady(2, WARM_UP))
    assert stream.past.armed


def test_a_busy_stream_is_not_armed_in_no_time() -> None:
    stream = Stream()
    stream.feed(steady(1, 50_000), step_ns=NS // 10_000)
    assert not stream.past.armed
    stream.feed(steady(2, 60_000), step_ns=NS // 10_000)
    assert stream.past.armed


def test_nothing_is_found_in_what_stays_the_same() -> None:
    stream = Stream()
    stream.feed(steady(1, 200_000))
    assert stream.alarms == 0
    assert stream.past.total > 8192


def test_a_shift_is_found_within_few_values_and_not_learned() -> None:
    stream = Stream()
    stream.feed(steady(1, 10_000))
    before = stream.past.total
    stream.feed(steady(2, 60, factor=8))
    assert stream.alarms > 0
    stream.feed(steady(3, 5000, factor=8))
    assert stream.past.total == before
    assert stream.past.adapted == 0


def test_it_is_over_when_the_values_are_as_before() -> None:
    stream = Stream()
    stream.feed(steady(1, 10_000))
    stream.feed(steady(2, 500, factor=8))
    assert stream.bets.told
    stream.feed(steady(3, 500))
    assert not stream.bets.told


def test_a_change_for_good_becomes_the_baseline_once() -> None:
    stream = Stream()
    stream.feed(steady(1, 10_000))
    lasting = 3 * FOR_GOOD
    stream.feed(steady(2, lasting, factor=8), step_ns=2 * FOR_GOOD_NS // lasting)
    assert stream.past.adapted == 1
    assert not stream.bets.told
    stream.alarms = 0
    stream.feed(steady(3, 5000, factor=8))
    assert stream.alarms == 0
    assert stream.past.adapted == 1


def test_many_values_in_little_time_are_not_for_good() -> None:
    stream = Stream()
    stream.feed(steady(1, 10_000))
    stream.feed(steady(2, 4 * FOR_GOOD, factor=8), step_ns=1000)
    assert stream.past.adapted == 0


def test_below_the_floor_nothing_is_evidence() -> None:
    def alarms(floor: int) -> int:
        stream = Stream(floor)
        stream.feed(steady(1, 10_000))
        stream.feed(steady(2, 2000, factor=4))
        return stream.alarms

    assert alarms(0) > 0
    assert alarms(must_bucket(10_000_000)) == 0


def test_above_the_floor_it_is_found_as_before() -> None:
    stream = Stream(must_bucket(1_000_000))
    stream.feed(steady(1, 10_000))
    stream.feed(steady(2, 500, factor=500))
    assert stream.alarms > 0


def test_tables_become_rarer_until_one_in_twenty_minutes() -> None:
    stream = Stream()
    stream.feed(steady(1, 50_000), step_ns=NS)
    assert stream.spacing_ns < LONGEST_NS * 3
    few = stream.tables
    assert few < 100
    stream.feed(steady(2, 50_000), step_ns=NS)
    assert stream.tables - few < 60


def correlated(seed: int, number: int) -> list[float]:
    draw = random.Random(seed)
    value, made = 0.0, []
    for _ in range(number):
        value = 0.95 * value + draw.gauss(0, 1)
        made.append(exp(10 + value / 3))
    return made


def test_what_depends_on_one_another_is_thinned() -> None:
    stream = Stream()
    stream.feed(correlated(1, 60_000))
    assert stream.past.every >= 16
    assert stream.past.armed
    stream.alarms = 0
    stream.feed(correlated(2, 60_000))
    assert stream.alarms == 0


def test_what_was_learned_fades_within_days() -> None:
    def remembered(rest_ns: int) -> float:
        stream = Stream()
        stream.feed(steady(1, 20_000))
        before = stream.past.total
        stream.now_ns += rest_ns
        stream.summarise()
        return stream.past.total / before

    assert remembered(0) >= 1
    assert remembered(3 * DAY_NS) < 0.2


def test_it_remembers_a_bounded_number() -> None:
    stream = Stream()
    stream.feed(steady(1, 400_000), step_ns=NS // 10)
    assert stream.past.total <= MEMORY


def test_counters_of_the_kernel_may_wrap_around() -> None:
    stream = Stream()
    stream.feed(steady(1, 5000))
    counted = stream.bets.counted()
    histogram = memoryview(bytearray(counted.histogram)).cast("I")
    for bucket in range(KERNEL_BUCKETS):
        histogram[bucket] = histogram[bucket] - 1 & 0xFFFFFFFF
    past = Past(0, 0)
    past.learn(counted._replace(gathered=2**32 - 1000, histogram=bytes(4 * KERNEL_BUCKETS)), 1, UNIT)
    past.learn(counted._replace(gathered=1000), 2, UNIT)
    assert 0 < past.total < 2**31


def test_it_is_found_again_after_an_alarm() -> None:
    """Values of an alarm are no dependence between values."""
    stream = Stream()
    stream.feed(steady(1, 10_000))
    for seed in range(2, 12):
        stream.alarms = 0
        stream.feed(steady(seed, 300, factor=8))
        assert stream.alarms > 0
        stream.feed(steady(100 + seed, 2000))
        assert stream.past.armed
        assert stream.past.every == 1


def test_a_young_stream_does_not_learn_a_fault_that_comes_slowly() -> None:
    """One value in eight is of the fault, in a stream that makes a table every few hundred values."""
    found = 0
    for seed in range(12):
        stream = Stream()
        stream.feed(steady(seed, 1400))
        values = steady(100 + seed, 4000)
        stream.feed(value * 1000 if at % 8 == 0 else value for at, value in enumerate(values))
        found += stream.alarms > 0
    assert found >= 10


def test_bets_are_counted_once() -> None:
    stream = Stream()
    counted = 0
    learn = stream.past.learn

    def summarise() -> None:
        nonlocal counted
        bet = stream.bets.counted()
        counted += learn(bet, stream.now_ns, BITS * UNIT / 4)
        stream.set_odds(bet.gathered)

    stream.summarise = summarise  # type: ignore[method-assign]
    stream.feed(steady(1, 10_000))
    stream.feed(steady(2, 20_000, factor=8))
    assert 0 < counted <= 30_000
