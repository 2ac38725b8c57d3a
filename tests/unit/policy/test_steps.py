"""What a step sets: as it is written, as the arc gets it, and what is refused with which words."""

import pytest

from controlplane.link.amounts import BEST_EFFORT, IDLE, Amount
from controlplane.link.reach import Network
from controlplane.policy.compile import rules_of
from controlplane.policy.errors import PolicyError
from controlplane.policy.steps import reach_words

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  per: PER
  scope: {cgroups: ["/a"]}
  test: {kind: threshold, above: 500/s}
  ladder:
    - {act: ACT}
"""


def amounts(act: str, per: str = "cgroup") -> tuple[Amount, ...]:
    (rule,) = rules_of(POLICY.replace("ACT", act).replace("PER", per).encode(), "f.yaml", "api")
    return rule.ladder[0].amounts


@pytest.mark.parametrize(
    ("act", "per", "expected"),
    [
        ("reweigh, cpu: 10, io: 1, for: 5m", "cgroup", (Amount("cpu", 10), Amount("io", 1))),
        ("reweigh, io: 10000, for: 5m", "cgroup", (Amount("io", 10_000),)),
        (
            "reweigh, nice: 19, ionice: idle, oom_score_adj: -500, for: 1s",
            "process",
            (Amount("nice", 19), Amount("oom_score_adj", -500), Amount("ionice", IDLE)),
        ),
        ("reweigh, ionice: 7, for: 1s", "process", (Amount("ionice", BEST_EFFORT + 7),)),
        ("freeze, for: 1s", "cgroup", ()),
        ("limit-cpu, max: 150%, for: 5m", "cgroup", (Amount("max", 15_000),)),
        ("limit-memory, max: 64MiB, for: 5m", "cgroup", (Amount("max", 64 << 20),)),
        ("limit-memory, max: 80%, for: 5m", "cgroup", (Amount("max", 8000, "share"),)),
        ("limit-pids, max: 100, for: 5m", "cgroup", (Amount("max", 100),)),
        ("reclaim, amount: 256MiB", "cgroup", (Amount("amount", 256 << 20),)),
        ("reclaim, amount: 20%", "cgroup", (Amount("amount", 2000, "share"),)),
        ("limit-pids, more: 10, for: 5m", "cgroup", (Amount("more", 10),)),
        ("shape, rate: 10Mbit/s, for: 30s", "cgroup", (Amount("rate", 10_000_000),)),
        ("shape, rate: 9.5kbit/s, interface: eth0, for: 30s", "cgroup", (Amount("rate", 9500),)),
        ("quarantine, allow: [10.0.0.0/8], for: 30s", "cgroup", ()),
        (
            "limit-io, read: 1MiB/s, write: 10kB/s, for: 5m",
            "cgroup",
            (Amount("read", 1 << 20), Amount("write", 10_000)),
        ),
    ],
)
def test_amounts(act: str, per: str, expected: tuple[Amount, ...]) -> None:
    assert amounts(act, per) == expected


def test_whom_a_quarantine_spares() -> None:
    policy = POLICY.replace("ACT", "quarantine, allow: [10.0.0.0/8, 'fd00::/8'], for: 5m")
    (rule,) = rules_of(policy.replace("PER", "cgroup").encode(), "f.yaml", "api")
    assert rule.ladder[0].allow == (Network(bytes([10, 0, 0, 0]), 8), Network(b"\xfd" + bytes(15), 8))
    assert [*reach_words(rule.ladder[0])] == ["sparing 10.0.0.0/8, fd00::/8"]


def test_networks_are_so_many_at_most() -> None:
    policy = POLICY.replace("ACT", f"quarantine, allow: [{', '.join(['10.0.0.0/8'] * 33)}], for: 5m")
    with pytest.raises(PolicyError, match=r"ladder\[0\].allow: has more than 32 networks"):
        rules_of(policy.replace("PER", "cgroup").encode(), "f.yaml", "api")


def test_what_is_denied() -> None:
    (rule,) = rules_of(
        POLICY.replace("ACT", "deny, what: exec, for: 2s").replace("PER", "cgroup").encode(), "f.yaml", "api"
    )
    assert (rule.ladder[0].what, rule.ladder[0].for_ns, rule.ladder[0].amounts) == ("exec", 2 * 10**9, ())


@pytest.mark.parametrize(
    ("act", "per", "message", "hint"),
    [
        ("reweigh, for: 5m", "cgroup", "spec.ladder[0]: reweigh needs something to set", "cpu and io"),
        ("reweigh, cpu: 10", "cgroup", "spec.ladder[0].for: a reweigh needs an end, at most 7d", "for: 10s"),
        ("reweigh, cpu: 0, for: 1s", "cgroup", "spec.ladder[0].cpu: must be between 1 and 10000", ""),
        ("reweigh, io: 10001, for: 1s", "cgroup", "spec.ladder[0].io: must be between 1 and 10000", ""),
        ("reweigh, nice: 20, for: 1s", "process", "spec.ladder[0].nice: must be between -20 and 19", ""),
        ("reweigh, ionice: 8, for: 1s", "process", "spec.ladder[0].ionice: must be `idle`, or between", ""),
        ("reweigh, cpu: 10, for: 1s", "process", "spec.ladder[0].cpu: is not what reweigh", "`per: cgroup`"),
        ("reweigh, nice: 1, for: 1s", "cgroup", "spec.ladder[0].nice: is not what", "`per: process`"),
        ("freeze, cpu: 10, for: 1s", "cgroup", "spec.ladder[0].cpu: is not what", "freeze sets nothing"),
        ("reweigh, cpu: much, for: 1s", "cgroup", "spec.ladder[0].cpu must be a whole number, not text", ""),
        (
            "limit-cpu, max: 64MiB, for: 1s",
            "cgroup",
            "spec.ladder[0].max: '64MiB' is not a percentage",
            "150%",
        ),
        ("limit-cpu, max: 0.5%, for: 1s", "cgroup", "spec.ladder[0].max: must be at least 1%", ""),
        ("limit-memory, max: 64, for: 1s", "cgroup", "spec.ladder[0].max: '64' is not a size", "64KiB"),
        ("reclaim", "cgroup", "spec.ladder[0]: reclaim needs something to set", "reclaim takes amount"),
        ("reclaim, amount: 5", "cgroup", "spec.ladder[0].amount: '5' is not a size", "64KiB"),
        ("reclaim, amount: 1KiB", "cgroup", "spec.ladder[0].amount: must be at least 64KiB", ""),
        (
            "reclaim, amount: 1MiB",
            "process",
            "spec.ladder[0].act: reclaim takes a whole cgroup",
            "per: cgroup",
        ),
        ("limit-memory, max: 0%, for: 1s", "cgroup", "spec.ladder[0].max: must be above 0%", ""),
        ("limit-pids, max: 1%, for: 1s", "cgroup", "spec.ladder[0].max: '1%' is not a whole number", "100"),
        ("limit-pids, max: 0, for: 1s", "cgroup", "spec.ladder[0].max: must be between 1 and 4194304", ""),
        ("limit-pids, max: 9, more: 9, for: 1s", "cgroup", "spec.ladder[0].more: does not go with `max`", ""),
        ("limit-pids, max: true, for: 1s", "cgroup", "spec.ladder[0].max: True is not a limit", "64MiB"),
        (
            "limit-pids, for: 1s",
            "cgroup",
            "spec.ladder[0]: limit-pids needs something to set",
            "max and more",
        ),
        (
            "limit-io, read: 1MiB, for: 1s",
            "cgroup",
            "spec.ladder[0].read: '1MiB' is not so much a",
            "10MiB/s",
        ),
        ("limit-cpu, max: 50%, for: 1s", "process", "spec.ladder[0].act: limit-cpu takes a whole", "cgroup"),
        ("limit-cpu, max: 50%", "cgroup", "spec.ladder[0].for: a limit-cpu needs an end, at most 7d", "10s"),
        ("shape, for: 1s", "cgroup", "spec.ladder[0]: shape needs something to set", "shape takes rate"),
        ("shape, rate: 1Mbit/s", "cgroup", "spec.ladder[0].for: a shape needs an end, at most 7d", "10s"),
        (
            "shape, rate: 1MiB/s, for: 1s",
            "cgroup",
            "spec.ladder[0].rate: '1MiB' is not a number of",
            "Mbit/s",
        ),
        (
            "shape, rate: 1Mbit, for: 1s",
            "cgroup",
            "spec.ladder[0].rate: '1Mbit' is not so much a",
            "10Mbit/s",
        ),
        ("shape, rate: 1kbit/s, for: 1s", "cgroup", "spec.ladder[0].rate: must be between 8kbit/s and", ""),
        ("shape, rate: 1Mbit/s, for: 1s", "process", "spec.ladder[0].act: shape takes a whole", "cgroup"),
        (
            "shape, rate: 1Mbit/s, interface: a/b, for: 1s",
            "cgroup",
            "spec.ladder[0].interface: is not the name of an interface",
            "eth0",
        ),
        (
            "shape, rate: 1Mbit/s, allow: [fd00::/8], for: 1s",
            "cgroup",
            "spec.ladder[0].allow: shape spares no network",
            "leave `allow` out",
        ),
        ("quarantine", "cgroup", "spec.ladder[0].for: a quarantine needs an end, at most 7d", "for: 10s"),
        ("quarantine, for: 1s", "process", "spec.ladder[0].act: quarantine takes a whole", "cgroup"),
        (
            "quarantine, allow: [10.0.0.1/8], for: 1s",
            "cgroup",
            "spec.ladder[0].allow[0]: '10.0.0.1/8' has host bits set",
            "fd00::/8",
        ),
        (
            "quarantine, allow: [fd00::/8, here], for: 1s",
            "cgroup",
            "spec.ladder[0].allow[1]: 'here' is not a network",
            "10.0.0.0/8",
        ),
        (
            "quarantine, interface: eth0, for: 1s",
            "cgroup",
            "spec.ladder[0].interface: quarantine is about no interface",
            "leave `interface` out",
        ),
        ("freeze, rate: 1Mbit/s, for: 1s", "cgroup", "spec.ladder[0].rate: is not what freeze sets here", ""),
        ("deny, for: 1s", "cgroup", "spec.ladder[0]: deny needs something to deny", "`what: fork`, `exec`"),
        ("deny, what: fork", "cgroup", "spec.ladder[0].for: a deny needs an end, at most 7d", "for: 10s"),
        ("deny, what: open, for: 1s", "cgroup", "spec.ladder[0].what", ""),
        ("deny, what: fork, for: 1s", "process", "spec.ladder[0].act: deny takes a whole cgroup", "cgroup"),
        ("freeze, what: fork, for: 1s", "cgroup", "spec.ladder[0].what: freeze denies nothing", "leave"),
        ("reweigh, cqu: 10, for: 1s", "cgroup", "unknown key 'cqu' in spec.ladder[0]", "`cpu`"),
    ],
)
def test_refused(act: str, per: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        amounts(act, per)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.line == 10
