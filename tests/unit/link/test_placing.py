"""Which policies the kernel can carry out, what is said of those it cannot, and what `auto` comes to."""

import msgspec
import pytest

from controlplane.link.placing import belongs_to_kernel, misplaced, why_not
from controlplane.link.rules import NS, Betting, Confirm, Level, Poisson, Rate, Rule, Scope, Step
from controlplane.policy.compile import rules_of
from controlplane.policy.errors import PolicyError

DENY = Step("deny", for_ns=NS, what="fork")
RULE = Rule(
    name="storm",
    signal="process.fork",
    scope=Scope(cgroups=("/a",)),
    test=Rate(interval_ns=NS, burst=1),
    ladder=(DENY,),
)
KILL: dict[str, object] = {"per": "process", "ladder": (Step("kill"),)}


def rule(**changes: object) -> Rule:
    return msgspec.structs.replace(RULE, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ladder": (DENY, Step("freeze", after_ns=NS, for_ns=NS))},
        {"signal": "memory.reclaim_stall", "test": Level(5)},
        {"signal": "writeback.pause", "test": Betting(NS)},
        {"on_loss": "open"},
        KILL,
        KILL | {"signal": "memory.reclaim_stall", "test": Level(5)},
    ],
)
def test_the_kernel_can(changes: dict[str, object]) -> None:
    assert why_not(rule(**changes)) is None
    assert belongs_to_kernel(rule(where="kernel", **changes))
    assert not belongs_to_kernel(rule(where="userspace", **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"signal": "cpu.runq_delay", "test": Level(5)},
            "the kernel feels cpu.runq_delay where",
        ),
        ({"test": Poisson(NS)}, "the kernel has no such test"),
        ({"on_loss": "closed"}, "the kernel tests events before any can be lost"),
        (KILL | {"confirm": Confirm("psi.memory", Level(5))}, "the kernel cannot wait for a second signal"),
        ({"ladder": (DENY, Step("freeze", for_ns=NS))}, "the kernel takes one step, the first"),
        ({"ladder": (Step("freeze", after_ns=NS, for_ns=NS),)}, "the kernel takes one step, the first"),
        ({"ladder": (Step("freeze", for_ns=NS),)}, "the kernel cannot freeze"),
        ({"ladder": (Step("kill"),)}, "the kernel cannot kill a whole cgroup"),
        (KILL | {"ladder": (Step("kill", grace_ns=NS),)}, "the kernel cannot kill with grace"),
        (
            KILL | {"signal": "writeback.pause", "test": Betting(NS)},
            "kill cannot be undone, and the kernel cannot have it confirmed",
        ),
    ],
)
def test_the_kernel_cannot(changes: dict[str, object], message: str) -> None:
    fault = why_not(rule(**changes))
    assert fault is not None
    assert message in fault.message
    assert fault.hint
    assert misplaced(rule(where="kernel", **changes)) == fault
    assert misplaced(rule(**changes)) is None
    assert not belongs_to_kernel(rule(**changes))


def test_by_itself_only_what_can_be_undone_goes_there() -> None:
    assert belongs_to_kernel(RULE)
    assert not belongs_to_kernel(rule(**KILL))
    assert belongs_to_kernel(rule(where="kernel", **KILL))


POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  scope: {cgroups: ["/a"]}
  test: {kind: threshold, above: 500/s}
  where: WHERE
  ladder:
    - {act: ACT, for: 10s}
"""


def compiled(where: str, act: str) -> Rule:
    (found,) = rules_of(POLICY.replace("WHERE", where).replace("ACT", act).encode(), "f.yaml", "api")
    return found


def test_a_policy_says_where() -> None:
    assert compiled("kernel", "deny, what: fork").where == "kernel"


@pytest.mark.parametrize(
    ("where", "act", "message", "hint"),
    [
        ("kernel", "freeze", "spec.where: the kernel cannot freeze", "it can `deny`"),
        ("nowhere", "freeze", "spec.where", ""),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(where: str, act: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(where, act)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.line == 8
