"""What cannot be undone is not done before the test is surer and a second signal confirms, and then it is.

Monitor, engine and journal are those of the arc; the acts reach nobody, and the clock is the test's own.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.monitor.tiers import must_stern
from controlplane.arc.reflex import engine as engines
from controlplane.arc.reflex.acts import POPULATED, Act, Effect, Opened
from controlplane.arc.reflex.breaker import Breaker
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.guards import Confirmation, Guards, Loss
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.journal import Journal, read_records
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.victims import Victim
from controlplane.link.config import Mode
from controlplane.link.records import Change, GuardRefused, Intent, Record
from controlplane.link.rules import NS, ActName, Confirm, Poisson, Rate, Rule, Scope, Step

MS = NS // 1000
FORK, EXEC = 1, 2
A = 7
WITHIN_NS = 2 * NS
RULE = Rule(
    name="learned",
    signal="process.fork",
    scope=Scope(cgroups=("/a",)),
    test=Poisson(10 * NS),
    confirm=Confirm("process.exec", Rate(interval_ns=NS, burst=2), WITHIN_NS),
    ladder=(Step("kill"),),
    cooldown_ns=20 * NS,
    mode="enforce",
)
UNSURE = "the finding is not yet a thousand times as sure"
AT_REST = "process.exec does not confirm it"


class Idle:
    """An act that reaches nobody."""

    def __init__(self, name: ActName, done: Callable[[], None], *, irreversible: bool) -> None:
        self.name = name
        self.irreversible = irreversible
        self._done = done

    def prepare(self, cgroup: int, step: Step) -> None: ...
    def forget(self, cgroup: int) -> None: ...
    def must_release(self, opened: Opened) -> None: ...
    def undo(self, victim: Victim, changes: Sequence[Change]) -> None: ...

    def must_open(self, victim: Victim, step: Step) -> Opened:  # noqa: ARG002  # the shape of an act
        return Opened((-1,))

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:  # noqa: ARG002  # the same
        return True

    def must_apply(self, opened: Opened) -> None:  # noqa: ARG002  # the shape of an act
        self._done()

    def must_effect(self, victim: Victim) -> Effect | None:
        return (POPULATED, victim.cgroup, 0) if self.irreversible else None


class Arena:
    """One cgroup that has forked at a steady pace, under one rule."""

    def __init__(self, folder: Path, rule: Rule, mode: Mode = "enforce") -> None:
        self.now_ns = NS
        self.kills = 0
        self._owed_ns = 0
        self.confirmed_ns = -NS * 1000
        """When programs were last executed faster than the rule has it; reckoned here, not by the monitor."""
        self._rule = rule
        self._fd = os.open(folder, os.O_RDONLY)
        self._journal = Journal(self._fd, 1 << 20, 8, os.getgid(), tuple)
        self.monitor = Monitor({"process.fork": FORK, "process.exec": EXEC})
        cgroups = Cgroups(str(folder))
        confirmation, loss = Confirmation(self.monitor.must_confirmed), Loss(lambda _signal: 0)
        guards = Guards(Protection(cgroups, ()), confirmation, loss, Breaker(1000, NS))
        acts: dict[tuple[str, bool], Act] = {
            ("kill", False): Idle("kill", self._killed, irreversible=True),
            ("freeze", False): Idle("freeze", lambda: None, irreversible=False),
        }
        self.engine = Engine(acts, guards, self._journal, Holdings(), mode)
        self.engine.set_rules([rule])
        self.monitor.set_rules([rule])
        self.place = self.monitor.name(A, "/a")
        self.fork(80, 10 * MS)

    def close(self) -> None:
        self._journal.close()
        os.close(self._fd)

    def _killed(self) -> None:
        (probe,) = self.place.probes[FORK]
        test = probe.must_test_for(self._event(FORK))
        if isinstance(self._rule.test, Poisson):
            assert test.statistic >= must_stern(test.kind, test.threshold)
        assert self.now_ns - self.confirmed_ns <= WITHIN_NS
        self.kills += 1

    def _event(self, signal: int) -> Event:
        who = (A, A, 0, 10, 0, 1, 1)
        return Event(
            self.now_ns, 1, self.now_ns, *who, 1, 0, 0, signal, EventKind.SIGNAL, 0, b"sh".ljust(16, b"\0")
        )

    def fork(self, number: int, gap_ns: int = MS) -> None:
        """Each is told by itself, and the loop has a look after each."""
        for _ in range(number):
            before = self.now_ns
            self.now_ns += gap_ns
            event = self._event(FORK)._replace(since_ns=before)
            self.monitor.must_feel(self.place, event, self.engine.must_begin)
            self.turn()

    def execute(self, number: int = 5) -> None:
        """All at once: more than two beyond one a second confirm."""
        for _ in range(number):
            self._owed_ns = max(self._owed_ns, self.now_ns) + NS
            if self._owed_ns - self.now_ns > 2 * NS:
                self.confirmed_ns = self.now_ns
            self.monitor.must_feel(self.place, self._event(EXEC), self.engine.must_begin)
        self.turn()

    def turn(self, passed_ns: int = 0) -> None:
        """What the loop does once it has been woken."""
        self.now_ns += passed_ns
        self.engine.run_due(self.now_ns)

    def records(self) -> list[Record]:
        return [record for _, record in read_records(self._fd)]

    def refusals(self) -> list[str]:
        return [each.detail for each in self.records() if isinstance(each, GuardRefused)]

    def intents(self) -> list[tuple[str, str]]:
        return [(each.act, each.mode) for each in self.records() if isinstance(each, Intent)]


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Callable[..., Arena]]:
    made: list[Arena] = []

    def make(mode: Mode = "enforce", **changes: object) -> Arena:
        made.append(Arena(tmp_path, msgspec.structs.replace(RULE, **changes), mode))
        return made[-1]

    yield make
    for each in made:
        each.close()


def until_found(arena: Arena) -> None:
    """Storm until the test fires: the first tier."""
    while not arena.engine.findings:
        arena.fork(1)


def test_a_storm_alone_kills_nobody(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.fork(200)
    assert (storm.kills, storm.refusals()) == (0, [f"{UNSURE}, and {AT_REST}"])
    assert storm.engine.refusals == {"unconfirmed": 1}
    assert storm.engine.steps == {("kill", "refused"): 1}


def test_confirmation_alone_kills_nobody(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.execute()
    until_found(storm)
    assert (storm.kills, storm.refusals()) == (0, [UNSURE])


def test_what_was_put_off_is_done_once_the_test_is_sure(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.execute()
    storm.fork(30)
    assert (storm.kills, storm.engine.findings) == (1, {"learned": 1})
    assert len({getattr(each, "trace_id", b"") for each in storm.records()}) == 1


def test_what_was_put_off_is_done_once_it_is_confirmed(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.fork(200)
    storm.execute(2)
    assert storm.kills == 0
    storm.execute(3)
    assert storm.kills == 1
    assert storm.engine.latency.snapshot(0).sum_ns == 0


def test_a_confirmation_of_long_ago_is_none(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.execute()
    storm.turn(WITHIN_NS)
    storm.fork(200)
    assert storm.kills == 0


def test_it_is_given_up_when_the_next_reflex_may_begin(arena: Callable[..., Arena]) -> None:
    storm = arena(cooldown_ns=NS)
    storm.fork(200)
    storm.turn(NS)
    storm.execute()
    assert (storm.kills, len(storm.engine._put_off)) == (0, 0)
    storm.fork(1)
    assert (storm.kills, storm.engine.findings) == (1, {"learned": 2})


def test_a_later_rung_waits_as_well(arena: Callable[..., Arena]) -> None:
    storm = arena(ladder=(Step("freeze", for_ns=NS // 10), Step("kill", after_ns=NS // 2)))
    storm.fork(200)
    assert (storm.intents(), storm.refusals()) == ([("freeze", "enforce")], [])
    storm.turn(NS // 2)
    assert storm.refusals() == [AT_REST]
    storm.execute()
    assert (storm.kills, storm.intents()[-1]) == (1, ("kill", "enforce"))


def test_observing_tells_what_would_have_been(arena: Callable[..., Arena]) -> None:
    storm = arena("observe")
    storm.fork(200)
    assert (storm.intents(), len(storm.refusals())) == ([], 1)
    storm.execute()
    assert (storm.kills, storm.intents()) == (0, [("kill", "observe")])


def test_a_threshold_needs_confirmation_where_it_is_written(arena: Callable[..., Arena]) -> None:
    storm = arena(test=Rate(interval_ns=10 * MS, burst=3))
    storm.fork(20)
    assert (storm.kills, storm.refusals()) == (0, [AT_REST])
    storm.execute()
    assert storm.kills == 1


def test_what_is_put_off_ends_with_its_rule(arena: Callable[..., Arena]) -> None:
    storm = arena()
    storm.fork(200)
    storm.engine.stop_acting({}, "policy")
    storm.execute()
    assert storm.kills == 0


def test_what_is_put_off_is_bounded(arena: Callable[..., Arena], monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.MAX_PUT_OFF > 4
    monkeypatch.setattr(engines, "MAX_PUT_OFF", 4)
    storm = arena(ladder=(Step("kill"),) * 8)
    storm.fork(200)
    assert (len(storm.refusals()), len(storm.engine._put_off)) == (8, 4)


ops = st.lists(
    st.one_of(
        st.tuples(st.just("fork"), st.integers(1, 60), st.sampled_from([MS, 3 * MS, 10 * MS])),
        st.tuples(st.just("execute"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("turn"), st.sampled_from([MS, NS, 3 * NS, 30 * NS]), st.just(0)),
    ),
    max_size=12,
)
ladders = st.sampled_from(
    [
        RULE.ladder,
        (Step("freeze", for_ns=NS), Step("kill", after_ns=NS)),
        (Step("kill"), Step("kill", after_ns=NS)),
    ]
)


@settings(max_examples=150)
@given(ops, ladders, st.sampled_from([0, NS, 20 * NS]))
def test_whatever_happens_nobody_is_killed_without_both(
    happens: list[tuple[str, int, int]], ladder: tuple[Step, ...], cooldown_ns: int
) -> None:
    """The arena itself looks, at each kill, whether there was both."""
    rule = msgspec.structs.replace(RULE, ladder=ladder, cooldown_ns=cooldown_ns)
    with TemporaryDirectory() as folder:
        storm = Arena(Path(folder), rule)
        for what, number, gap_ns in happens:
            if what == "fork":
                storm.fork(number, gap_ns)
            elif what == "execute":
                storm.execute(number)
            else:
                storm.turn(number)
        storm.close()
