"""Kinds of tests a policy may have: what they become, and the signals for which they are refused."""

import pytest

from controlplane.link.rules import NS, Betting, Poisson, Pressure, Rare, Rate
from controlplane.link.signals import PAGES, SIGNALS, Signal
from controlplane.policy.compile import compile_policies
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import policies_of
from controlplane.policy.node import MEMORY, PAGE
from tests.unit.policy.test_compile import POLICY, compiled

CONFIRM = "  confirm: {signal: psi.memory, above: 20%}\n"


def with_test(signal: str, test: str, confirm: str = CONFIRM) -> str:
    return POLICY.replace("process.fork", signal).replace(
        "{kind: threshold, above: 500/s, over: 200ms}\n", f"{{{test}}}\n{confirm}"
    )


@pytest.mark.parametrize(
    ("budget", "seconds"), [("1/week", 604_800), ("1/day", 86_400), ("2/hour", 1800), ("1/s", 1)]
)
def test_a_learned_rate_has_a_budget(budget: str, seconds: int) -> None:
    test = compiled(with_test("process.fork", f"kind: rate, false_alarms: {budget}")).test
    assert test == Poisson(seconds * NS)


def test_rare_events_have_a_rate_and_a_budget() -> None:
    test = compiled(with_test("memory.oom_kill", "kind: rare, above: 1/h, false_alarms: 1/week")).test
    assert test == Rare(interval_ns=3600 * NS, allowed_ns=604_800 * NS)


@pytest.mark.parametrize("signal", ["psi.memory", "psi.cpu", "psi.io"])
def test_lasting_pressure(signal: str) -> None:
    assert compiled(with_test(signal, "kind: pressure, above: 40%", confirm="")).test == Pressure(4000)


GROWTH = POLICY.replace("process.fork", "memory.growth")


@pytest.mark.parametrize(
    ("above", "bytes_per_s"), [("64MiB/s", 64 << 20), ("1%/s", MEMORY / 100), ("3%/min", MEMORY / 2000)]
)
def test_growth_is_in_bytes_or_of_the_nodes_memory(above: str, bytes_per_s: float) -> None:
    test = compiled(GROWTH.replace("500/s", above)).test
    assert isinstance(test, Rate)
    assert test.interval_ns == pytest.approx(NS * PAGE / bytes_per_s, abs=1)
    assert test.burst == int(bytes_per_s / PAGE / 5)


@pytest.mark.parametrize(
    ("above", "message"),
    [
        ("500/s", "'500' is not a size"),
        ("5ms", "'5ms' is not so much memory a second"),
        ("200%/s", "'200%' is more than the whole"),
    ],
)
def test_growth_is_not_in_events(above: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(GROWTH.replace("500/s", above))
    said = f"spec.test.above: {message}, and memory.growth counts pages of memory"
    assert (caught.value.message, caught.value.line) == (said, 8)
    assert caught.value.hint


def test_learned_values() -> None:
    text = with_test("cpu.runq_delay", "kind: histogram, false_alarms: 1/day, above: 10ms")
    assert compiled(text).test == Betting(86_400 * NS, above=10_000_000)


def test_pressures_are_learned_from_recordings_only() -> None:
    text = with_test("psi.cpu", "kind: histogram, false_alarms: 1/day")
    (rule,) = compile_policies(policies_of(text.encode(), "f.yaml"), "api", replayed=True)
    assert rule.test == Betting(86_400 * NS)
    with pytest.raises(PolicyError, match="histogram takes all values") as caught:
        compiled(text)
    assert (caught.value.line, "pressure" in caught.value.hint) == (8, True)


@pytest.mark.parametrize(
    ("signal", "test", "message", "hint"),
    [
        (
            "cpu.runq_delay",
            "kind: rate, false_alarms: 1/day",
            "spec.test.kind: rate counts events, and cpu.runq_delay is measured in ns",
            "write `kind: histogram`",
        ),
        (
            "process.fork",
            "kind: histogram, false_alarms: 1/day",
            "spec.test.kind: histogram takes values, and process.fork counts events",
            "write `kind: rate`",
        ),
        (
            "process.fork",
            "kind: rate, false_alarms: 1d",
            "spec.test.false_alarms: '1d' is not a rate",
            "write for example 1/day",
        ),
        (
            "process.fork",
            "kind: rate, false_alarms: 1000/s",
            "spec.test.false_alarms: must be between one a second and one in ten years",
            "",
        ),
        (
            "cpu.runq_delay",
            "kind: rare, above: 1/h, false_alarms: 1/day",
            "spec.test.kind: rare counts events, and cpu.runq_delay is measured in ns",
            "write `kind: histogram`",
        ),
        (
            "memory.oom_kill",
            "kind: rare, above: 10ms, false_alarms: 1/day",
            "spec.test.above: '10ms' is not a rate, and memory.oom_kill counts events",
            "write a number per unit of time: 500/s, 10/min, 1/hour, 1/day, 1/week",
        ),
        (
            "cpu.runq_delay",
            "kind: histogram, false_alarms: 1/day, above: 5/s",
            "spec.test.above: '5/s' is not a duration, and cpu.runq_delay is measured in ns",
            "write a number and a unit: 50us, 250ms, 30s, 1m, 2h",
        ),
        (
            "cpu.runq_delay",
            "kind: pressure, above: 40%",
            "spec.test.kind: pressure takes psi.memory, psi.cpu or psi.io, and not cpu.runq_delay",
            "write `kind: threshold`",
        ),
        (
            "psi.memory",
            "kind: pressure, above: 10ms",
            "spec.test.above: '10ms' is not a share, and psi.memory is measured in %",
            "write a number from 0% to 100%: 0.5%, 15%",
        ),
        (
            "psi.memory",
            "kind: pressure, above: 100%",
            "spec.test.above: must be above 0% and below 100%",
            "",
        ),
        (
            "process.fork",
            "kind: rat, false_alarms: 1/day",
            "spec.test.kind cannot be 'rat'",
            "did you mean `rate`?",
        ),
        (
            "process.fork",
            "kind: rate, above: 5/s",
            "unknown key 'above' in spec.test",
            "one of: false_alarms",
        ),
        ("process.fork", "above: 5/s", "`kind` is missing in spec.test", ""),
    ],
)
def test_refused_for_its_test(signal: str, test: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(with_test(signal, test))
    assert (caught.value.message, caught.value.hint, caught.value.line) == (message, hint, 8)


def test_values_may_have_a_floor() -> None:
    text = with_test("cpu.runq_delay", "kind: histogram, false_alarms: 1/day, above: 10ms")
    (rule,) = compile_policies(policies_of(text.encode(), "f.yaml"), "api", replayed=True)
    assert rule.test == Betting(86_400 * NS, above=10_000_000)


@pytest.mark.parametrize(
    ("signal", "test"),
    [
        *((name, "above: 5/s") for name in ("net.retransmit", "net.link_flap", "block.error")),
        *((name, "above: 5ms") for name in ("block.latency", "softirq.time")),
        ("psi.io", "above: 5%"),
    ],
)
def test_not_per_process_where_none_is_named(signal: str, test: str) -> None:
    text = with_test(signal, f"kind: threshold, {test}")
    assert compiled(text).per == "cgroup"
    with pytest.raises(PolicyError) as caught:
        compiled(text.replace("per: cgroup", "per: process"))
    assert caught.value.message == f"spec.per: the events of {signal} name no process"
    assert (caught.value.hint, caught.value.line) == ("write `per: cgroup`", 6)


@pytest.mark.parametrize("signal", [signal for signal in SIGNALS if signal.process])
def test_per_process_where_one_is_named(signal: Signal) -> None:
    above = {"1": "5/s", PAGES: "5MiB/s"}.get(signal.unit, "5ms")
    text = with_test(signal.name, f"kind: threshold, above: {above}").replace("per: cgroup", "per: process")
    assert compiled(text.replace("act: freeze, for: 10s", "act: observe")).per == "process"
