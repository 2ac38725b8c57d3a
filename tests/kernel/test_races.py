"""What changes between decision, act and undo: each ends in a clear outcome, and leaves no reflex hanging.

The acts are those of the arc; another's hand comes in right before or right after one of their parts.
"""

import os
import signal
from collections.abc import Callable, Sequence

import pytest

from controlplane.arc.reflex.acts import Act, Effect, Opened
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.records import Change, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, ActName, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule

Turn = Callable[..., Turned]
EXECS = ("sh", "-c", "read -r line; exec sh -c 'exec sh -c \"exec sleep 60\"'")
BRIEF_NS = 50_000_000


class Raced:
    """An act with another's hand in it, once."""

    def __init__(self, act: Act, when: str, hand: Callable[[Victim], None]) -> None:
        self._act = act
        self._when = when
        self._hand = hand
        self._victim = Victim(0, "")
        self.name: ActName = act.name
        self.irreversible = act.irreversible
        self.prepare, self.forget = act.prepare, act.forget
        self.must_release, self.must_have = act.must_release, act.must_have

    def _now(self, when: str) -> None:
        if self._when == when:
            self._when = ""
            self._hand(self._victim)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        self._victim = victim
        self._now("before open")
        opened = self._act.must_open(victim, step)
        self._now("after open")
        return opened

    def must_apply(self, opened: Opened) -> None:
        self._act.must_apply(opened)
        self._now("after act")

    def must_effect(self, victim: Victim) -> Effect | None:
        return self._act.must_effect(victim)

    def undo(self, victim: Victim, changes: Sequence[Change]) -> str | None:
        self._now("before undo")
        return self._act.undo(victim, changes)


def race(turned: Turned, name: ActName, *, process: bool, when: str, hand: Callable[[Victim], None]) -> None:
    """Put the hand in before the plans are made."""
    acts = turned.arc._acts
    acts[name, process] = Raced(acts[name, process], when, hand)
    turned.arc._put_rules_in_force()


def die(victim: Victim) -> None:
    """The process is killed by somebody else, and has ended and been reaped when this returns."""
    fd = os.pidfd_open(victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    os.waitid(os.P_PIDFD, fd, os.WEXITED)
    os.close(fd)


def is_over(turned: Turned) -> bool:
    """Nothing is due, awaited or in force."""
    engine = turned.arc.engine
    return not turned.due() and not engine.holdings.all() and not engine._put_off


@pytest.mark.parametrize(("act", "for_ns"), [("kill", 0), ("freeze", BRIEF_NS), ("reweigh", BRIEF_NS)])
@pytest.mark.parametrize("when", ["before open", "after open", "after act", "before undo"])
def test_the_process_exits(turn: Turn, cgroup: TestCgroup, act: ActName, for_ns: int, when: str) -> None:
    if (act, when) in {("kill", "before undo"), ("kill", "after act")}:
        pytest.skip("a kill is not undone")
    step = Step(act, for_ns=for_ns, amounts=(Amount("nice", 5),) if act == "reweigh" else ())
    turned = turn(fork_rule(cgroup, step, signal="process.exec", per="process", name="test-exec"))
    race(turned, act, process=True, when=when, hand=die)
    fork_in(cgroup.run(*EXECS), 1)
    if when == "before open":
        assert turned.await_record(GuardRefused).guard == "gone"
        assert not turned.of(Intent)
    elif when == "after open":
        outcome = turned.await_record(Outcome)
        assert (outcome.ok, outcome.error) == (False, os.strerror(3))
    else:
        assert turned.await_record(Undo).ok
    turned.turn_until(lambda: is_over(turned))


@pytest.mark.parametrize("act", ["kill", "freeze"])
@pytest.mark.parametrize("when", ["before open", "after open", "before undo"])
def test_the_cgroup_is_removed(turn: Turn, cgroup: TestCgroup, act: ActName, when: str) -> None:
    if (act, when) == ("kill", "before undo"):
        pytest.skip("a kill is not undone")

    def remove(_victim: Victim) -> None:
        cgroup.remove()

    turned = turn(fork_rule(cgroup, Step(act, for_ns=BRIEF_NS if act == "freeze" else 0)))
    race(turned, act, process=False, when=when, hand=remove)
    fork_in(cgroup.run(*FORKER), 5)
    if (act, when) == ("freeze", "before open"):
        assert turned.await_record(GuardRefused).guard == "gone"
    elif when == "before undo":
        assert turned.await_record(Undo).error == ""
    else:
        outcome = turned.await_record(Outcome)
        assert (outcome.ok, outcome.error) == (False, os.strerror(19))
    turned.turn_until(lambda: is_over(turned))


@pytest.mark.parametrize("when", ["after open", "after act"])
def test_somebody_else_sets_another_value(turn: Turn, cgroup: TestCgroup, when: str) -> None:
    def renice(victim: Victim) -> None:
        os.setpriority(os.PRIO_PROCESS, victim.pid, 12)

    step = Step("reweigh", for_ns=BRIEF_NS, amounts=(Amount("nice", 5),))
    turned = turn(fork_rule(cgroup, step, signal="process.exec", per="process", name="test-exec"))
    race(turned, "reweigh", process=True, when=when, hand=renice)
    culprit = cgroup.run(*EXECS)
    fork_in(culprit, 1)
    undo = turned.await_record(Undo)
    nice = os.getpriority(os.PRIO_PROCESS, culprit.pid)
    if when == "after act":
        assert (undo.ok, undo.error, nice) == (True, "foreign", 12)
    else:
        # Theirs came between our look and our write, and is not known to have been there.
        assert (undo.ok, undo.error, nice) == (True, "", 0)
    turned.turn_until(lambda: is_over(turned))


def test_a_frozen_cgroup_that_somebody_thaws_does_not_hold_up_the_kill(
    turn: Turn, cgroup: TestCgroup
) -> None:
    def thaw(_victim: Victim) -> None:
        (cgroup.directory / "cgroup.freeze").write_text("0")

    ladder = (Step("freeze", for_ns=60 * NS), Step("kill", after_ns=BRIEF_NS))
    turned = turn(fork_rule(cgroup, *ladder))
    race(turned, "freeze", process=False, when="after act", hand=thaw)
    process = cgroup.run(*FORKER)
    fork_in(process, 5)
    turned.turn_until(lambda: "kill" in {outcome.act for outcome in turned.of(Outcome)}, 15)
    assert process.wait(5) == -signal.SIGKILL
    turned.turn_until(lambda: is_over(turned), 15)
