"""Values that are learned, from the kernel's bets to the frozen cgroup, and over a restart of the daemon."""

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest

from controlplane.arc.baselines import NAME
from controlplane.arc.kernel.events import Signal
from controlplane.arc.monitor import past
from controlplane.link.records import Effect, Finding, Notice
from controlplane.link.rules import NS, Betting, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned
from tests.kernel.placing import Placing

WEEK = 7 * 24 * 3600 * NS


@pytest.fixture(autouse=True)
def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits until its stream is as old as it would have to be."""
    monkeypatch.setattr(past, "WARM_UP_NS", 0)


USUAL, SLOW = 20_000, 2_000_000
AT_ONCE = 64


def rule(cgroup: TestCgroup, above: int = 0) -> Rule:
    return Rule(
        name="slow",
        signal="cpu.runq_delay",
        scope=Scope(cgroups=(cgroup.path,)),
        test=Betting(WEEK, above),
        ladder=(Step("freeze", for_ns=60 * NS),),
        mode="enforce",
    )


def delays(seed: int, number: int, around: int) -> Iterable[int]:
    draw = Random(seed)
    return (int(around * draw.lognormvariate(0, 1)) for _ in range(number))


def place(turned: Turned, cgroup: TestCgroup, values: Iterable[int]) -> None:
    """As if tasks of the cgroup had waited so long; the arc keeps up with the summaries."""
    with Placing(turned.arc._sensors.shared()) as placing:
        for number, value in enumerate(values):
            placing.value(cgroup.id, value, Signal.CPU_RUNQ_DELAY)
            if number % AT_ONCE == 0:
                turned.arc.loop.must_turn(0)
    turned.arc.loop.must_turn(0)


def test_a_cgroup_that_waits_longer_than_ever_is_frozen(
    turn: Callable[..., Turned], cgroup: TestCgroup
) -> None:
    cgroup.run("sleep", "60")
    turned = turn(rule(cgroup))
    place(turned, cgroup, delays(1, 4000, USUAL))
    assert turned.of(Finding) == []
    place(turned, cgroup, delays(2, AT_ONCE, SLOW))
    turned.await_record(Effect)
    assert cgroup.frozen
    (finding,) = turned.of(Finding)
    assert (finding.rule, finding.test, finding.cgroup) == ("slow", "histogram", cgroup.id)
    assert finding.statistic >= finding.threshold > 10
    assert finding.value > USUAL


def test_what_stays_below_the_floor_is_let_be(turn: Callable[..., Turned], cgroup: TestCgroup) -> None:
    turned = turn(rule(cgroup, above=100 * SLOW))
    place(turned, cgroup, delays(1, 4000, USUAL))
    place(turned, cgroup, delays(2, AT_ONCE, SLOW))
    assert turned.of(Finding) == []


def test_what_was_learned_outlives_a_restart(turn: Callable[..., Turned], cgroup: TestCgroup) -> None:
    before = turn(rule(cgroup))
    place(before, cgroup, delays(1, 4000, USUAL))
    before.stop()
    after = turn(rule(cgroup))
    place(after, cgroup, delays(2, 300, USUAL))  # the first table is due after 256
    assert after.of(Finding) == []
    place(after, cgroup, delays(3, AT_ONCE, SLOW))
    after.await_record(Finding)


def test_a_damaged_file_means_a_fresh_start_with_a_warning(
    turn: Callable[..., Turned], cgroup: TestCgroup
) -> None:
    before = turn(rule(cgroup))
    before.stop()
    Path(before.config.runtime_dir, NAME).write_bytes(b"nonsense")
    after = turn(rule(cgroup))
    (told,) = (each for each in after.of(Notice) if each.name == "baselines.unreadable")
    assert told.severity == "warn"
