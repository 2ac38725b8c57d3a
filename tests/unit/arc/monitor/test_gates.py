"""Gates: what the kernel lets through for a set of rules."""

from controlplane.arc.kernel.events import GATE, Gate
from controlplane.arc.monitor.gates import (
    BETS,
    CLOSED,
    EACH,
    EVER_NS,
    NO_LEVEL,
    OPEN,
    ROUND_NS,
    SUMMARY,
    gates_for,
)
from controlplane.link.rules import MAX_SPAN_NS, NS, Betting, Level, Poisson, Pressure, Rare, Rate, Rule, Test

SIGNALS = ("process.fork", "cpu.runq_delay")


def rule(name: str, signal: str, test: Test, mode: str = "observe") -> Rule:
    return Rule(name=name, signal=signal, test=test, mode=mode)  # type: ignore[arg-type]


def test_no_rule_no_gate() -> None:
    assert gates_for([], SIGNALS) == {"process.fork": CLOSED, "cpu.runq_delay": CLOSED}


def test_a_rule_that_is_off_opens_nothing() -> None:
    off = rule("off", "process.fork", Rate(NS, 8), mode="off")
    assert gates_for([off], SIGNALS)["process.fork"] == CLOSED


def test_counts_are_told_in_eighths_of_the_smallest_burst_within_the_longest_window() -> None:
    rules = [
        rule("small", "process.fork", Rate(interval_ns=1_000_000, burst=80)),
        rule("large", "process.fork", Rate(interval_ns=2_000_000, burst=800)),
    ]
    assert gates_for(rules, SIGNALS)["process.fork"] == Gate(1_600_000_000, 0, 10, 1)


def test_a_burst_of_one_is_told_event_by_event() -> None:
    assert gates_for([rule("one", "process.fork", Rate(NS, 1))], SIGNALS)["process.fork"].batch == 1


def test_the_largest_burst_a_policy_may_have_fits_into_the_kernels_gate() -> None:
    gate = gates_for([rule("vast", "process.fork", Rate(1, MAX_SPAN_NS))], SIGNALS)["process.fork"]
    assert Gate._make(GATE.unpack(GATE.pack(*gate))) == gate


def test_a_rate_that_allows_no_burst_opens_the_gate() -> None:
    gate = gates_for([rule("none", "process.fork", Rate(1000, 0))], SIGNALS)["process.fork"]
    assert gate == Gate(1000, 0, 1, 1)


def test_values_are_told_above_the_lowest_level() -> None:
    rules = [rule("high", "cpu.runq_delay", Level(900)), rule("low", "cpu.runq_delay", Level(100))]
    assert gates_for(rules, SIGNALS)["cpu.runq_delay"] == Gate(ROUND_NS, 100, 0, 1)


def test_level_zero_lets_everything_above_zero_through() -> None:
    rules = [rule("zero", "cpu.runq_delay", Level(0)), rule("high", "cpu.runq_delay", Level(900))]
    assert gates_for(rules, SIGNALS)["cpu.runq_delay"].level == 0


def test_a_learned_rate_is_told_of_slow_streams_as_well() -> None:
    gate = gates_for([rule("learned", "process.fork", Poisson(NS))], SIGNALS)["process.fork"]
    assert gate == Gate(EVER_NS, 0, SUMMARY, 1)


def test_beside_a_small_burst_a_learned_rate_is_told_as_often() -> None:
    for order in (1, -1):
        rules = [rule("r", "process.fork", Rate(NS, 8)), rule("learned", "process.fork", Poisson(NS))]
        assert gates_for(rules[::order], SIGNALS)["process.fork"] == Gate(EVER_NS, 0, 1, 1)


def test_of_a_rare_thing_each_event_is_told() -> None:
    rules = [rule("rare", "process.fork", Rare(NS, NS)), rule("learned", "process.fork", Poisson(NS))]
    for order in (1, -1):
        assert gates_for(rules[::order], SIGNALS)["process.fork"] == Gate(EVER_NS, 0, 1, 1)


def test_what_the_kernel_tells_by_a_trigger_has_no_gate() -> None:
    pressed = rule("pressed", "psi.memory", Pressure(4000))
    assert gates_for([pressed], ("psi.memory",))["psi.memory"] == CLOSED


def test_bets_are_told_of_and_values_are_not() -> None:
    rules = [rule("learned", "cpu.runq_delay", Betting(NS))]
    assert gates_for(rules, SIGNALS)["cpu.runq_delay"] == Gate(ROUND_NS, NO_LEVEL, 0, OPEN | BETS)


def test_beside_bets_a_level_is_told_of_as_well() -> None:
    for order in (1, -1):
        rules = [rule("r", "cpu.runq_delay", Level(9)), rule("learned", "cpu.runq_delay", Betting(NS))]
        assert gates_for(rules[::order], SIGNALS)["cpu.runq_delay"] == Gate(ROUND_NS, 9, 0, OPEN | BETS)


def test_a_rule_for_each_process_is_told_of_each_event() -> None:
    alone = Rule(name="p", signal="process.fork", per="process", test=Rate(NS, 80))
    together = rule("c", "process.fork", Rate(NS, 800))
    assert gates_for([alone, together], SIGNALS)["process.fork"].open == OPEN | EACH
    assert gates_for([together], SIGNALS)["process.fork"].open == OPEN
