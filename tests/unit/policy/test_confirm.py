"""What a policy writes of the second signal that confirms, and which policies must name one."""

import msgspec
import pytest

from controlplane.link.rules import NS, Confirm, Level, Rate
from controlplane.policy.errors import PolicyError
from tests.unit.policy.test_compile import POLICY, RULE, compiled
from tests.unit.policy.test_compile_kinds import with_test

LEARNED = "kind: rate, false_alarms: 1/week"


@pytest.mark.parametrize(
    ("confirm", "compiled_to"),
    [
        ("signal: psi.memory, above: 20%", Confirm("psi.memory", Level(2000), 10 * NS)),
        (
            "signal: memory.oom_kill, above: 1/s, over: 2s, within: 1m",
            Confirm("memory.oom_kill", Rate(interval_ns=NS, burst=2), 60 * NS),
        ),
        ("signal: block.latency, above: 50ms", Confirm("block.latency", Level(50_000_000))),
    ],
)
def test_what_cannot_be_undone_is_confirmed_by_another_signal(confirm: str, compiled_to: Confirm) -> None:
    written = f"  confirm: {{{confirm}}}\n"
    assert compiled(with_test("process.fork", LEARNED, written)).confirm == compiled_to
    threshold = POLICY.replace("  ladder:", f"{written}  ladder:")
    assert compiled(threshold) == msgspec.structs.replace(RULE, confirm=compiled_to)


def test_a_policy_that_learns_may_not_kill_without() -> None:
    with pytest.raises(PolicyError, match=r"spec.ladder\[1\].act: kill cannot be undone") as caught:
        compiled(with_test("process.fork", LEARNED, ""))
    assert (caught.value.line, "`confirm: {signal: psi.memory, above: 20%}`" in caught.value.hint) == (
        11,
        True,
    )
    mild = with_test("process.fork", LEARNED, "").replace("    - {act: kill, after: 5s}\n", "")
    assert compiled(mild).confirm is None


@pytest.mark.parametrize(
    ("confirm", "message", "hint"),
    [
        (
            "signal: process.fork, above: 1/s",
            "spec.confirm.signal: is what the policy tests already",
            "name another signal, of another cause",
        ),
        (
            "signal: psi.memroy, above: 1%",
            "spec.confirm.signal: unknown signal `psi.memroy`",
            "did you mean `psi.memory`?",
        ),
        (
            "signal: psi.memory, above: 1/s",
            "spec.confirm.above: '1/s' is not a share, and psi.memory is measured in %",
            "write a number from 0% to 100%: 0.5%, 15%",
        ),
        (
            "signal: psi.memory, above: 1%, over: 1s",
            "spec.confirm.over: psi.memory is tested value by value",
            "leave `over` out",
        ),
        (
            "signal: psi.memory, above: 1%, within: 0s",
            "spec.confirm.within: must be above zero and at most 7d",
            "",
        ),
        ("signal: psi.memory", "`above` is missing in spec.confirm", ""),
        (
            "signal: psi.memory, below: 1%",
            "unknown key 'below' in spec.confirm",
            "one of: above, over, signal, within",
        ),
    ],
)
def test_refused_for_its_confirmation(confirm: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(with_test("process.fork", LEARNED, f"  confirm: {{{confirm}}}\n"))
    assert (caught.value.message, caught.value.hint, caught.value.line) == (message, hint, 9)
