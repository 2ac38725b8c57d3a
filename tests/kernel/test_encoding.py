"""The child that encodes netlink messages, as an arc starts it: for rules that may act, once, and anew."""

import os
from collections.abc import Callable

import pytest

from controlplane.arc.children import spawn
from controlplane.errand.hook import children_of
from controlplane.link.amounts import Amount
from controlplane.link.messages import must_order
from controlplane.link.records import GuardRefused, Notice
from controlplane.link.rules import NS, RuleSet, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.namespaces import own_namespace

Turn = Callable[..., Turned]
CUT = Step("quarantine", for_ns=NS)
SLOW = Step("shape", for_ns=NS, amounts=(Amount("rate", 8_000_000),))


def known(turned: Turned) -> list[str]:
    return [order[0] for order in turned.arc._prepared.messages]


def test_messages_follow_the_rules_in_force(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, CUT))
    turned.arc._reloaded(RuleSet((fork_rule(cgroup, CUT, SLOW),)))
    turned.turn_until(lambda: len(known(turned)) == 2)
    turned.arc._reloaded(RuleSet((fork_rule(cgroup, SLOW),)))
    assert known(turned) == ["shape"]
    turned.arc._reloaded(RuleSet((fork_rule(cgroup, SLOW, mode="observe"),)))
    assert known(turned) == []


def test_rules_that_only_look_need_no_child(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, CUT, mode="observe"))
    assert turned.arc._encoding._child is None


@pytest.mark.parametrize("module", ["controlplane.missing", "controlplane.policy.messages"])
def test_a_child_that_fails_is_told(
    turn: Turn, cgroup: TestCgroup, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    def start(_: str, arguments: tuple[str, ...], descriptors: tuple[int, ...]) -> int:
        return spawn(module, arguments[:2], descriptors)

    monkeypatch.setattr("controlplane.arc.encoding.spawn", start)
    with own_namespace():
        turned = turn(fork_rule(cgroup, CUT))
        turned.turn_until(lambda: "messages.failed" in [notice.name for notice in turned.of(Notice)])
        fork_in(cgroup.run(*FORKER), 5)
        refused = turned.await_record(GuardRefused)
    assert (refused.act, refused.guard) == ("quarantine", "absent")
    assert refused.detail.startswith("the encoder of messages ended with status")
    assert must_order(CUT) not in turned.arc._prepared.messages


def test_a_child_under_way_ends_with_the_arc(turn: Turn, cgroup: TestCgroup) -> None:
    others = set(children_of(os.getpid()))
    turned = turn(fork_rule(cgroup, CUT))
    assert others < set(children_of(os.getpid()))
    turned.stop()
    assert others.issuperset(children_of(os.getpid()))
