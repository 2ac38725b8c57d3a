"""What a hostile rule may not be, whoever sends it."""

from typing import Any, get_args

import msgspec
import pytest

from controlplane.link.amounts import BEST_EFFORT, Amount
from controlplane.link.faults import faults, problems
from controlplane.link.globs import MAX_GLOB, MAX_GLOBS
from controlplane.link.rules import (
    MAX_ALLOWED_NS,
    MAX_LADDER,
    MAX_LEVEL,
    MAX_SPAN_NS,
    NS,
    Allowance,
    Betting,
    Confirm,
    Level,
    Poisson,
    Pressure,
    Rare,
    Rate,
    Rule,
    Scope,
    Step,
    Test,
    is_learned,
    signals_of,
)

CONFIRM = Confirm("psi.memory", Level(2000))
GOOD = Rule(
    name="fork-storm",
    signal="process.fork",
    scope=Scope(cgroups=("/kubepods.slice/**",)),
    test=Rate(interval_ns=2_000_000, burst=50),
    ladder=(Step("freeze", for_ns=10 * NS), Step("kill", after_ns=5 * NS)),
    mode="enforce",
)


def changed(**fields: object) -> Rule:
    return msgspec.structs.replace(GOOD, **fields)


@pytest.mark.parametrize(
    "rule",
    [
        GOOD,
        changed(name="a"),
        changed(name="0-" * 31 + "9"),
        changed(scope=Scope(node=True)),
        changed(scope=Scope(), mode="observe"),
        changed(scope=Scope(cgroups=("/**",)), mode="observe"),
        changed(scope=Scope(cgroups=("/",))),
        changed(scope=Scope(cgroups=("/**/x",))),
        changed(scope=Scope(cgroups=("/a",) * MAX_GLOBS)),
        changed(scope=Scope(cgroups=("/" + "a" * (MAX_GLOB - 1),))),
        changed(test=Level(1)),
        changed(test=Level(MAX_LEVEL)),
        changed(test=Rate(interval_ns=1, burst=MAX_SPAN_NS)),
        changed(test=Poisson(NS), confirm=CONFIRM),
        changed(test=Poisson(MAX_ALLOWED_NS), ladder=(Step("freeze", for_ns=1),)),
        changed(test=Rare(1, NS), confirm=CONFIRM),
        changed(test=Rare(MAX_SPAN_NS, MAX_ALLOWED_NS), confirm=CONFIRM),
        changed(test=Pressure(1)),
        changed(test=Pressure(9999)),
        changed(confirm=CONFIRM),
        changed(confirm=Confirm("process.exec", Rate(interval_ns=1, burst=MAX_SPAN_NS), MAX_SPAN_NS)),
        changed(test=Rate(interval_ns=MAX_SPAN_NS, burst=1)),
        changed(ladder=()),
        changed(ladder=(Step("observe"),) * MAX_LADDER),
        changed(ladder=(Step("freeze", for_ns=MAX_SPAN_NS, after_ns=MAX_SPAN_NS),)),
        changed(per="process", ladder=(Step("observe"), Step("kill", after_ns=1))),
        changed(cooldown_ns=0),
        changed(cooldown_ns=MAX_SPAN_NS),
    ],
)
def test_taken(rule: Rule) -> None:
    assert problems(rule) == []


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"name": ""}, "metadata.name"),
        ({"name": "a" * 64}, "metadata.name"),
        ({"name": "Fork"}, "metadata.name"),
        ({"name": "a/b"}, "metadata.name"),
        ({"name": "a\n"}, "metadata.name"),
        ({"signal": ""}, "spec.signal"),
        ({"signal": "a" * 64}, "spec.signal"),
        ({"signal": "process fork"}, "spec.signal"),
        ({"origin": "a\nb"}, "origin"),
        ({"origin": "a" * 4097}, "origin"),
        ({"scope": Scope()}, "spec.scope"),
        ({"scope": Scope(node=True, cgroups=("/a",))}, "spec.scope"),
        ({"scope": Scope(cgroups=("/a",) * (MAX_GLOBS + 1))}, "spec.scope.cgroups"),
        ({"scope": Scope(cgroups=("/a", ""))}, "spec.scope.cgroups[1]"),
        ({"scope": Scope(cgroups=("a/b",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a/",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a//b",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a/../b",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a/.",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a**",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a\0",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/" + "a" * MAX_GLOB,))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/**",))}, "spec.scope.cgroups[0]"),
        ({"scope": Scope(cgroups=("/a", "/*/**"))}, "spec.scope.cgroups[1]"),
        ({"scope": Scope(cgroups=("/??*",))}, "spec.scope.cgroups[0]"),
        ({"test": Level(0)}, "spec.test.above"),
        ({"test": Level(-1)}, "spec.test.above"),
        ({"test": Level(MAX_LEVEL + 1)}, "spec.test.above"),
        ({"test": Poisson(NS - 1), "confirm": CONFIRM}, "spec.test.false_alarms"),
        ({"test": Poisson(MAX_ALLOWED_NS + 1), "confirm": CONFIRM}, "spec.test.false_alarms"),
        ({"test": Poisson(NS)}, "spec.ladder[1].act"),
        ({"test": Rare(NS, NS)}, "spec.ladder[1].act"),
        ({"test": Betting(NS, -1), "confirm": CONFIRM}, "spec.test.above"),
        ({"test": Betting(NS - 1), "confirm": CONFIRM}, "spec.test.false_alarms"),
        ({"test": Rare(0, NS), "confirm": CONFIRM}, "spec.test.above"),
        ({"test": Rare(MAX_SPAN_NS + 1, NS), "confirm": CONFIRM}, "spec.test.above"),
        ({"test": Rare(NS, 0), "confirm": CONFIRM}, "spec.test.false_alarms"),
        ({"test": Pressure(0)}, "spec.test.above"),
        ({"test": Pressure(10_000)}, "spec.test.above"),
        ({"confirm": Confirm("process.fork", Rate(NS, 1))}, "spec.confirm.signal"),
        ({"confirm": Confirm("psi memory", Level(1))}, "spec.confirm.signal"),
        ({"confirm": Confirm("psi.memory", Level(0))}, "spec.confirm.above"),
        ({"confirm": Confirm("process.exec", Rate(0, 1))}, "spec.confirm.above"),
        ({"confirm": Confirm("process.exec", Rate(NS, -1))}, "spec.confirm.over"),
        ({"confirm": Confirm("psi.memory", Level(1), 0)}, "spec.confirm.within"),
        ({"confirm": Confirm("psi.memory", Level(1), MAX_SPAN_NS + 1)}, "spec.confirm.within"),
        ({"test": Rate(interval_ns=0, burst=1)}, "spec.test.above"),
        ({"test": Rate(interval_ns=-1, burst=1)}, "spec.test.above"),
        ({"test": Rate(interval_ns=MAX_SPAN_NS + 1, burst=1)}, "spec.test.above"),
        ({"test": Rate(interval_ns=NS, burst=-1)}, "spec.test.over"),
        ({"test": Rate(interval_ns=2, burst=MAX_SPAN_NS)}, "spec.test.over"),
        ({"ladder": (Step("observe"),) * (MAX_LADDER + 1)}, "spec.ladder"),
        ({"ladder": (Step("observe"), Step("kill", for_ns=1))}, "spec.ladder[1].for"),
        ({"ladder": (Step("observe", for_ns=1),)}, "spec.ladder[0].for"),
        ({"ladder": (Step("freeze"),)}, "spec.ladder[0].for"),
        ({"ladder": (Step("freeze", for_ns=-1),)}, "spec.ladder[0].for"),
        ({"ladder": (Step("freeze", for_ns=MAX_SPAN_NS + 1),)}, "spec.ladder[0].for"),
        ({"ladder": (Step("observe", after_ns=-1),)}, "spec.ladder[0].after"),
        ({"ladder": (Step("observe", after_ns=MAX_SPAN_NS + 1),)}, "spec.ladder[0].after"),
        ({"ladder": (Step("observe", after_ns=2), Step("kill", after_ns=1))}, "spec.ladder[1].after"),
        (
            {"per": "process", "ladder": (Step("limit-cpu", for_ns=1, amounts=(Amount("max", 5000),)),)},
            "spec.ladder[0].act",
        ),
        ({"ladder": (Step("freeze", for_ns=1, grace_ns=1),)}, "spec.ladder[0].grace"),
        ({"ladder": (Step("kill", grace_ns=-1),)}, "spec.ladder[0].grace"),
        ({"ladder": (Step("kill", amounts=(Amount("cpu", 1),)),)}, "spec.ladder[0].cpu"),
        ({"ladder": (Step("reweigh", for_ns=1),)}, "spec.ladder[0]"),
        ({"ladder": (Step("reweigh", for_ns=1, amounts=(Amount("cpu", 1),) * 2),)}, "spec.ladder[0]"),
        (
            {"ladder": (Step("reweigh", for_ns=1, amounts=(Amount("cpu", 1, "share"),)),)},
            "spec.ladder[0].cpu",
        ),
        (
            {
                "per": "process",
                "ladder": (Step("reweigh", for_ns=1, amounts=(Amount("ionice", BEST_EFFORT + 8),)),),
            },
            "spec.ladder[0].ionice",
        ),
        ({"cooldown_ns": -1}, "spec.cooldown"),
        ({"cooldown_ns": MAX_SPAN_NS + 1}, "spec.cooldown"),
        ({"quiet_ns": 0}, "spec.quiet"),
        ({"quiet_ns": MAX_SPAN_NS + 1}, "spec.quiet"),
        ({"signal": "psi.memory", "quiet_ns": 4 * NS}, "spec.quiet"),
        ({"breaker": Allowance(0, NS), "ladder": (Step("kill"),)}, "spec.breaker.acts"),
        ({"breaker": Allowance(1001, NS), "ladder": (Step("kill"),)}, "spec.breaker.acts"),
        ({"breaker": Allowance(1, NS - 1), "ladder": (Step("kill"),)}, "spec.breaker.within"),
        ({"breaker": Allowance(1, 3601 * NS), "ladder": (Step("kill"),)}, "spec.breaker.within"),
        ({"breaker": Allowance(1, NS), "ladder": (Step("freeze", for_ns=1),)}, "spec.breaker"),
        ({"protect": ("x",) * 33}, "spec.protect"),
        ({"protect": ("",)}, "spec.protect[0]"),
    ],
)
def test_refused(fields: dict[str, Any], at: str) -> None:
    found = problems(changed(**fields))
    assert {problem.partition(": ")[0] for problem in found} == {at}


LEARNED: dict[Any, bool] = {
    Rate: False,
    Level: False,
    Poisson: True,
    Betting: True,
    Rare: True,
    Pressure: False,
}


def test_each_kind_of_test_has_learned_or_not() -> None:
    """What has learned may not kill unconfirmed, so a new kind must be thought about here."""
    assert LEARNED.keys() == set(get_args(Test))
    assert {kind: is_learned(kind(1, 1) if kind in (Rate, Rare) else kind(1)) for kind in LEARNED} == LEARNED


def test_what_must_be_felt_for_a_rule() -> None:
    assert signals_of(GOOD) == ("process.fork",)
    assert signals_of(changed(confirm=CONFIRM)) == ("process.fork", "psi.memory")


def test_values_may_be_learned() -> None:
    for above in (0, 10_000_000, MAX_LEVEL):
        assert [*faults(changed(test=Betting(NS, above), confirm=CONFIRM))] == []


def test_says_everything_at_once() -> None:
    assert len(problems(changed(name="", scope=Scope(), cooldown_ns=-1))) == 3


def test_what_observes_the_node_may_not_be_switched_to_enforce() -> None:
    observing = changed(scope=Scope(cgroups=("/**",)), mode="observe")
    assert problems(observing) == []
    assert problems(msgspec.structs.replace(observing, mode="enforce"))
