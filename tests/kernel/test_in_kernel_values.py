"""Values that the kernel acts upon by itself, above a level or by its bets, in whoever they befall."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from controlplane.arc.kernel.events import Signal
from controlplane.arc.monitor import past
from controlplane.link.records import Effect, Finding, Undo
from controlplane.link.rules import NS, Betting, Level, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned
from tests.kernel.placing import Placing, compiled
from tests.kernel.test_deny import denials
from tests.kernel.test_learned_values import AT_ONCE, SLOW, USUAL, WEEK, delays
from tests.patience import patient

__all__ = ["denials"]

Turn = Callable[..., Turned]
NAME, NUMBER = "memory.reclaim_stall", Signal.MEMORY_RECLAIM_STALL
SUFFERER = """\
import sys
from tests.kernel import placing
procs, number, object_fd, *shared = sys.argv[1:]
with open(procs, "w") as file:
    file.write("0")
placing.compiled = lambda: int(object_fd)
maps = {name: int(fd) for name, _, fd in (each.partition("=") for each in shared)}
with placing.Placing(maps) as made:
    print("ready", flush=True)
    for line in sys.stdin:
        made.react(int(line), int(number))
        print("done", flush=True)
"""
"""In the cgroup, with the maps of the daemon: each line is a value that befalls it."""


class Sufferer:
    """A process of the cgroup to which the test lets values happen."""

    def __init__(self, turned: Turned, cgroup: TestCgroup) -> None:
        shared = turned.arc._sensors.shared()
        target = compiled()
        words = (str(cgroup.directory / "cgroup.procs"), str(int(NUMBER)), str(target))
        maps = [f"{name}={fd}" for name, fd in shared.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUFFERER, *words, *maps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(target, *shared.values()),
            text=True,
        )
        assert self.answer() == "ready"

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def suffer(self, value: int) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{value}\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def suffering(cgroup: TestCgroup) -> Iterator[Callable[[Turned], Sufferer]]:
    made: list[Sufferer] = []

    def make(turned: Turned) -> Sufferer:
        made.append(Sufferer(turned, cgroup))
        return made[-1]

    yield make
    for each in made:
        each.end()


def stall_rule(cgroup: TestCgroup, **changes: object) -> Rule:
    given: dict[str, object] = {
        "name": "stalls",
        "signal": NAME,
        "scope": Scope(cgroups=(cgroup.path,)),
        "mode": "enforce",
        "where": "kernel",
        "cooldown_ns": 0,
    }
    return Rule(**(given | changes))  # type: ignore[arg-type]


def test_a_value_above_the_level_kills_whom_it_befalls(
    turn: Turn, cgroup: TestCgroup, suffering: Callable[[Turned], Sufferer]
) -> None:
    turned = turn(stall_rule(cgroup, per="process", test=Level(5 * SLOW), ladder=(Step("kill"),)))
    sufferer = suffering(turned)
    assert sufferer.suffer(5 * SLOW) == "done"
    assert sufferer.suffer(5 * SLOW + 1) == ""
    assert sufferer.process.wait(patient(5)) == -signal.SIGKILL
    assert turned.await_record(Effect).act == "kill"
    (finding,) = turned.of(Finding)
    assert (finding.test, finding.pid) == ("level", sufferer.process.pid)
    assert finding.value == finding.statistic == finding.threshold + 1


@pytest.mark.usefixtures("denials")
def test_bets_that_are_won_deny_at_once(
    turn: Turn,
    cgroup: TestCgroup,
    suffering: Callable[[Turned], Sufferer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(past, "WARM_UP_NS", 0)
    ladder = (Step("deny", for_ns=60 * NS, what="fork"),)
    turned = turn(stall_rule(cgroup, test=Betting(WEEK), ladder=ladder))
    sufferer = suffering(turned)
    with Placing(turned.arc._sensors.shared()) as placing:
        for number, value in enumerate(delays(1, 4000, USUAL)):
            placing.value(cgroup.id, value, NUMBER)
            if number % AT_ONCE == 0:
                turned.arc.loop.must_turn(0)
                sufferer.suffer(value)
        assert not turned.of(Finding)
        for value in delays(2, AT_ONCE, SLOW):
            placing.value(cgroup.id, value, NUMBER)
    assert sufferer.suffer(SLOW) == "done"
    turned.await_record(Effect)
    (finding,) = turned.of(Finding)
    assert (finding.test, finding.cgroup) == ("histogram", cgroup.id)
    assert turned.arc._denials.must_have(cgroup.id, "fork")
    turned.stop()
    assert [undo.act for undo in turned.of(Undo)] == ["deny"]
