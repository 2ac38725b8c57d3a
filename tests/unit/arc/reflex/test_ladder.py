"""The ladder up and down: a step waits for the one before, and what is in force goes when all is quiet.

Engine, journal and guards are those of the arc; the acts reach nobody and take effect when the test says so.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.sources import event_of
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.streams import NOBODY, Place
from controlplane.arc.monitor.tests import RateTest
from controlplane.arc.monitor.tests import Test as MonitorTest
from controlplane.arc.reflex.acts import FROZEN, Act, Effect, Opened
from controlplane.arc.reflex.breaker import Breaker
from controlplane.arc.reflex.effects import AWAIT_NS
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.guards import Confirmation, Guards, Loss
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.journal import Journal, read_records
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.victims import Victim
from controlplane.link import records
from controlplane.link.records import Change, GuardRefused, Intent, Undo
from controlplane.link.rules import NS, ActName, Rate, Rule, Scope, Step

A = 7
CGROUP = Place(A, "/a")
QUIET_NS = 10 * NS
RULE = Rule(
    name="r",
    signal="process.fork",
    scope=Scope(cgroups=("/a",)),
    test=Rate(NS, 1),
    quiet_ns=QUIET_NS,
    cooldown_ns=NS,
    mode="enforce",
)


class Slow:
    """An act whose effect an event tells, `key` with 0; of others the kernel has it, if asked, in `there`."""

    def __init__(self, name: ActName, key: int = 0, *, irreversible: bool = False) -> None:
        self.name = name
        self.irreversible = irreversible
        self.key = key
        self.there = True
        self.found: tuple[Change, ...] = (Change(name, "0", "1"),)

    def prepare(self, cgroup: int, step: Step) -> None: ...
    def forget(self, cgroup: int) -> None: ...
    def must_apply(self, opened: Opened) -> None: ...
    def must_release(self, opened: Opened) -> None: ...
    def undo(self, victim: Victim, changes: Sequence[Change]) -> None: ...

    def must_open(self, victim: Victim, step: Step) -> Opened:  # noqa: ARG002  # the shape of an act
        return Opened((-1,), () if self.irreversible else self.found)

    def must_effect(self, victim: Victim) -> Effect | None:
        return (FROZEN, victim.cgroup, self.key) if self.key else None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:  # noqa: ARG002  # the same
        return self.there


class Ladder:
    """One engine with one rule, which fires when the test says so."""

    def __init__(self, folder: Path, *steps: Step, **changes: object) -> None:
        self.rule = msgspec.structs.replace(RULE, ladder=steps, **changes)
        self._fd = os.open(folder, os.O_RDONLY)
        self._journal = Journal(self._fd, 1 << 20, 8, os.getgid(), tuple)
        self.lost_ns = 0
        self.breaker = Breaker(3, NS)
        guards = Guards(
            Protection(Cgroups(str(folder)), ()),
            Confirmation(lambda _rule, _cgroup, _now: True),
            Loss(lambda _signal: self.lost_ns),
            self.breaker,
        )
        self.freeze, self.limit = Slow("freeze", 1), Slow("limit-pids")
        self.weigh, self.kill = Slow("reweigh"), Slow("kill", 2, irreversible=True)
        self.memory = Slow("limit-memory")
        acts: dict[tuple[str, bool], Act] = {
            (act.name, False): act for act in (self.freeze, self.limit, self.weigh, self.kill, self.memory)
        }
        self.engine = Engine(acts, guards, self._journal, Holdings(), "enforce")
        self.engine.set_rules([self.rule])
        self.test: MonitorTest = RateTest(Rate(NS, 1))
        self.began_ns = time.monotonic_ns()

    def close(self) -> None:
        self._journal.close()
        os.close(self._fd)

    def fire(self, after_ns: int = 0) -> None:
        """As the monitor does."""
        now_ns = self.began_ns + after_ns
        self.test.fired_ns = now_ns
        if now_ns >= self.test.quiet_until_ns:
            event = event_of(1, A, 1, now_ns, A)
            self.engine.must_begin(CGROUP, CGROUP, NOBODY, self.rule, self.test, event)

    def turn(self, after_ns: int) -> None:
        self.engine.run_due(self.began_ns + after_ns)

    def confirm(self, key: int) -> None:
        self.engine.must_confirm(FROZEN, A, key, time.monotonic_ns())

    def told(self) -> list[records.Record]:
        return [record for _, record in read_records(self._fd)]

    def intents(self) -> list[str]:
        return [record.act for record in self.told() if isinstance(record, Intent)]

    def effects(self) -> list[tuple[str, str]]:
        return [(one.act, one.error) for one in self.told() if isinstance(one, records.Effect)]

    def undos(self) -> list[tuple[str, str]]:
        return [(record.act, record.reason) for record in self.told() if isinstance(record, Undo)]

    def guards(self) -> list[str]:
        return [record.guard for record in self.told() if isinstance(record, GuardRefused)]


Make = Callable[..., Ladder]


@pytest.fixture
def ladder(tmp_path: Path) -> Iterator[Make]:
    made: list[Ladder] = []

    def make(*steps: Step, **changes: object) -> Ladder:
        made.append(Ladder(tmp_path, *steps, **changes))
        return made[-1]

    yield make
    for each in made:
        each.close()


LONG = Step("limit-pids", for_ns=3600 * NS)
FREEZE = Step("freeze", for_ns=3600 * NS)
WEIGH = Step("reweigh", for_ns=3600 * NS)


def test_a_step_waits_for_the_effect_of_the_one_before(ladder: Make) -> None:
    run = ladder(FREEZE, LONG, Step("kill", after_ns=NS))
    run.fire()
    run.turn(2 * NS)
    assert (run.intents(), run.effects()) == (["freeze"], [])
    run.confirm(1)
    assert run.intents() == ["freeze", "limit-pids", "kill"]
    assert run.effects() == [("freeze", ""), ("limit-pids", "")]
    assert run.engine.latency.snapshot(0).sum_ns > 0


def test_it_does_not_wait_for_ever_and_says_so(ladder: Make) -> None:
    run = ladder(FREEZE, LONG)
    run.freeze.there = False
    run.fire()
    run.turn(AWAIT_NS // 2)
    assert run.intents() == ["freeze"]
    run.turn(2 * AWAIT_NS)
    assert run.intents() == ["freeze", "limit-pids"]
    assert run.effects() == [("freeze", "unseen"), ("limit-pids", "")]
    run.confirm(1)
    assert run.effects()[-1] == ("freeze", "")


def test_an_effect_of_which_no_event_came_is_asked_for(ladder: Make) -> None:
    run = ladder(FREEZE, LONG)
    run.fire()
    run.turn(2 * AWAIT_NS)
    assert run.effects() == [("freeze", ""), ("limit-pids", "")]
    run.confirm(1)
    assert run.effects() == [("freeze", ""), ("limit-pids", "")]


def test_an_effect_that_is_asked_for_in_vain_is_told_at_last(ladder: Make) -> None:
    run = ladder(LONG, WEIGH)
    run.limit.there = False
    run.fire()
    for _ in range(10):
        run.engine.run_due(run.engine.next_due())
        if run.effects():
            break
    assert run.effects()[0] == ("limit-pids", "unseen")
    assert run.intents() == ["limit-pids", "reweigh"]


def test_what_is_so_already_needs_no_event(ladder: Make) -> None:
    run = ladder(FREEZE, LONG)
    run.freeze.found = (Change("freeze", "1", "1"),)
    run.fire()
    assert run.intents() == ["freeze", "limit-pids"]


def test_two_reflexes_await_one_event(ladder: Make) -> None:
    run = ladder(FREEZE, LONG)
    run.fire()
    run.test = RateTest(Rate(NS, 1))
    run.fire()
    run.confirm(1)
    assert run.effects().count(("freeze", "")) == 2
    assert run.intents().count("limit-pids") == 2


def test_an_act_taken_back_holds_nothing_up(ladder: Make) -> None:
    run = ladder(Step("freeze", for_ns=NS), Step("limit-pids", for_ns=100 * NS, after_ns=NS // 2))
    run.freeze.there = False
    run.fire()
    run.turn(NS // 2)
    assert run.intents() == ["freeze"]
    run.turn(2 * NS)
    assert (run.undos(), run.intents()) == ([("freeze", "timer")], ["freeze", "limit-pids"])


def test_steps_that_wait_end_with_their_reflex(ladder: Make) -> None:
    run = ladder(FREEZE, LONG)
    run.fire()
    run.engine.end_where(lambda _: True)
    run.engine.undo_where(lambda _: True, "command")
    run.confirm(1)
    assert (run.intents(), run.engine.next_due()) == (["freeze"], 0)


def test_after_so_much_quiet_steps_are_undone_in_reverse(ladder: Make) -> None:
    run = ladder(WEIGH, LONG, Step("kill", after_ns=60 * NS))
    run.fire()
    assert run.engine.next_due() == run.began_ns + QUIET_NS
    run.turn(QUIET_NS - 1)
    assert run.undos() == []
    run.turn(QUIET_NS)
    assert run.undos() == [("limit-pids", "quiet"), ("reweigh", "quiet")]
    run.turn(100 * NS)
    assert (run.intents(), run.engine.next_due()) == (["reweigh", "limit-pids"], 0)


def test_an_alarm_that_goes_on_is_not_quiet(ladder: Make) -> None:
    run = ladder(LONG)
    run.fire()
    for second in range(1, 40):
        run.fire(second * NS)
        run.turn(second * NS)
    assert (run.undos(), run.intents()) == ([], ["limit-pids"])
    run.turn(39 * NS + QUIET_NS)
    assert run.undos() == [("limit-pids", "quiet")]


def test_the_next_alarm_begins_a_new_reflex(ladder: Make) -> None:
    run = ladder(LONG)
    run.fire()
    run.turn(QUIET_NS)
    run.fire(QUIET_NS + 1)
    assert run.intents() == ["limit-pids", "limit-pids"]


def test_bets_are_quiet_once_the_kernel_has_told_their_end(ladder: Make) -> None:
    run = ladder(LONG)
    run.test = BetsTest(0, Budget(NS))
    run.test.must_update(run.began_ns, 0, 64 * (run.test.threshold + 1), 1)
    run.fire()
    run.turn(50 * NS)
    assert run.undos() == []
    run.test.must_update(run.began_ns, 0, 0, 1)
    run.turn(50 * NS + QUIET_NS)
    assert run.undos() == [("limit-pids", "quiet")]


def test_the_quiet_of_the_frozen_does_not_count(ladder: Make) -> None:
    run = ladder(Step("freeze", for_ns=30 * NS), LONG)
    run.freeze.found = (Change("freeze", "1", "1"),)
    run.fire()
    run.turn(29 * NS)
    assert run.undos() == []
    run.engine.run_due(run.engine.next_due())
    run.turn(31 * NS)
    assert run.undos()[0] == ("freeze", "timer")
    run.turn(60 * NS)
    assert run.undos()[1:] == [("limit-pids", "quiet")]


@pytest.mark.parametrize(("signal", "counts"), [("memory.growth", False), ("memory.reclaim_stall", True)])
def test_the_quiet_of_who_may_not_grow_does_not_count(ladder: Make, signal: str, *, counts: bool) -> None:
    run = ladder(Step("limit-memory", for_ns=30 * NS), LONG, signal=signal)
    run.fire()
    run.turn(29 * NS)
    assert [act for act, _ in run.undos()] == (["limit-pids", "limit-memory"] if counts else [])


def test_a_signal_that_is_not_felt_is_not_quiet(ladder: Make) -> None:
    run = ladder(LONG)
    run.engine.unfelt = {"process.fork"}
    run.fire()
    run.turn(100 * NS)
    assert run.undos() == []
    run.engine.unfelt = set()
    run.turn(100 * NS + QUIET_NS)
    assert run.undos() == [("limit-pids", "quiet")]


def test_a_ladder_that_ends_sooner_is_not_looked_after(ladder: Make) -> None:
    run = ladder(Step("limit-pids", for_ns=NS))
    run.fire()
    run.turn(2 * NS)
    assert (run.undos(), run.engine.next_due()) == ([("limit-pids", "timer")], 0)


@pytest.mark.parametrize(
    ("on_loss", "done"),
    [(None, ["limit-pids"]), ("open", ["limit-pids", "kill"]), ("closed", [])],
)
def test_while_events_are_lost(ladder: Make, on_loss: str | None, done: list[str]) -> None:
    run = ladder(LONG, Step("kill"), on_loss=on_loss)
    run.lost_ns = run.began_ns - NS
    run.fire()
    assert run.intents() == done
    assert run.guards() == ["lost"] * (2 - len(done))


def test_what_was_held_back_by_a_loss_is_done_once_it_is_past(ladder: Make) -> None:
    run = ladder(Step("kill"), cooldown_ns=60 * NS)
    run.lost_ns = run.began_ns - NS
    run.fire()
    run.turn(8 * NS)
    assert run.intents() == []
    run.turn(10 * NS)
    assert (run.intents(), run.guards()) == (["kill"], ["lost"])


def test_losses_of_long_ago_hold_nothing_back(ladder: Make) -> None:
    run = ladder(Step("kill"))
    run.lost_ns = run.began_ns - 11 * NS
    run.fire()
    assert run.intents() == ["kill"]


@pytest.mark.parametrize("change", [{"cooldown_ns": 5 * NS}, {"mode": "observe"}])
def test_a_policy_that_was_replaced_ends_what_the_old_one_began(
    ladder: Make, change: dict[str, object]
) -> None:
    run = ladder(LONG, Step("kill", after_ns=NS))
    run.fire()
    run.engine.set_rules([msgspec.structs.replace(run.rule, **change)])
    run.engine.stop_acting(run.engine.acting(), "policy")
    run.turn(5 * NS)
    assert (run.intents(), run.undos()) == (["limit-pids"], [("limit-pids", "policy")])


def test_an_unchanged_policy_goes_on(ladder: Make) -> None:
    run = ladder(LONG, Step("kill", after_ns=NS))
    run.fire()
    run.engine.set_rules([msgspec.structs.replace(run.rule)])
    run.engine.stop_acting(run.engine.acting(), "policy")
    run.turn(5 * NS)
    assert run.intents() == ["limit-pids", "kill"]
