"""What the ring had no room for: counted, told, and felt by policies."""

from collections.abc import Callable

from controlplane.arc.kernel.events import Gate, Signal
from controlplane.arc.monitor.gates import EACH, OPEN
from controlplane.link.records import Finding, Lost
from controlplane.link.rules import NS, Level, Rate, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned
from tests.kernel.placing import Placing

VALUES = 12_000
"""More than a ring of 1 MiB holds."""


def test_losses_reach_a_rule(
    turn: Callable[..., Turned], cgroup: TestCgroup, make_cgroup: Callable[[], TestCgroup]
) -> None:
    each = Rule(
        name="each",
        signal="cpu.runq_delay",
        per="process",
        scope=Scope(cgroups=(cgroup.path,)),
        test=Level(2**62),
        ladder=(Step("observe"),),
    )
    lost = Rule(name="lost", signal="events.lost", test=Rate(NS, 0), ladder=(Step("observe"),))
    turned = turn(each, lost)
    turned.arc._sensors.set_gate("cpu.runq_delay", Gate(NS, 0, 0, OPEN | EACH))
    with Placing(turned.arc._sensors.shared()) as placing:
        for _ in range(VALUES):
            placing.value(cgroup.id, 5, Signal.CPU_RUNQ_DELAY)
    make_cgroup()  # and the sensor of cgroups finds the ring full
    turned.arc.status()
    finding = turned.await_record(Finding)
    assert (finding.rule, finding.signal, finding.path) == ("lost", "events.lost", "/")
    told = turned.of(Lost)
    assert {each.reason for each in told} == {"ring"}
    assert 0 < finding.count <= sum(each.count for each in told)
