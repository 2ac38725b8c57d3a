"""From rules to gates: the least the kernel must let through for every rule to decide exactly. Pure."""

from collections.abc import Collection, Iterable
from typing import Final, assert_never

from controlplane.arc.kernel.events import Gate
from controlplane.link.rules import Betting, Level, Poisson, Pressure, Rare, Rate, Rule, Test

CLOSED: Final = Gate(0, 0, 0, 0)
OPEN: Final = 1
EACH: Final = 2
BETS: Final = 4
REFLEX: Final = 8
"""GATE_OPEN, GATE_EACH, GATE_BETS and GATE_REFLEX of bpf/events.h."""
NO_LEVEL: Final = 2**64 - 1
ROUND_NS: Final = 100_000_000
"""Exceedances of a value are told at powers of two within this time."""
BATCHES: Final = 8
"""A burst is told in this many parts: one more part is how late an alarm may come."""
MAX_BATCH: Final = 2**30
"""The kernel counts a batch in 32 bits, and below zero what is owed."""

SUMMARY: Final = 16
"""Events that a learned rate is told of at once, by streams that have at most 256 a second.

Busier ones are told in ever larger parts: some 25 records a second and stream at most, 0.01 % of a CPU.
"""
EVER_NS: Final = 2**62
"""A slow stream is told of, too, or its rate could not be learned."""


def gate_for(tests: Iterable[Test], how: int) -> Gate:
    """The gate of one signal under all tests that use it; `how`: OPEN, and EACH if told for each process."""
    window = batch = 0
    level = NO_LEVEL
    for test in tests:
        match test:
            case Rate():
                part = min(MAX_BATCH, max(1, test.burst // BATCHES))
                batch = min(batch, part) if batch else part
                window = max(window, max(1, test.burst) * test.interval_ns)
            case Level():
                level = min(level, test.above)
                window = ROUND_NS
            case Poisson():
                batch = min(batch, SUMMARY) if batch else SUMMARY
                window = EVER_NS
            case Rare():
                batch, window = 1, EVER_NS
            case Betting():
                how |= BETS
                window = max(window, ROUND_NS)
            case Pressure():
                pass  # psi tells by triggers of its own
            case _:
                assert_never(test)
    if not window:
        return CLOSED
    return Gate(window, 0 if level == NO_LEVEL and not how & BETS else level, batch, how)


def reacting(gate: Gate) -> Gate:
    """The same for a signal of which the kernel carries out a policy: if for that alone, nothing is told."""
    if not gate.open:
        return Gate(EVER_NS, NO_LEVEL, MAX_BATCH, OPEN | REFLEX)
    return gate._replace(open=gate.open | REFLEX)


def gates_for(rules: Collection[Rule], signals: Iterable[str]) -> dict[str, Gate]:
    """A gate for every signal; closed where no rule that is on names it."""
    gates = {}
    for signal in signals:
        live = [rule for rule in rules if rule.mode != "off" and rule.signal == signal]
        how = OPEN | EACH if any(rule.per == "process" for rule in live) else OPEN
        gates[signal] = gate_for((rule.test for rule in live), how)
    return gates
