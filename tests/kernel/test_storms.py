"""A storm of forks: one finding, and when it is over, how often it fired."""

from collections.abc import Callable

import pytest

from controlplane.arc.reflex import storms
from controlplane.link.records import Finding, Repeated
from controlplane.link.rules import NS
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule


def test_a_storm_of_forks_is_told_when_it_is_over(
    turn: Callable[..., Turned], cgroup: TestCgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storms, "SETTLE_NS", NS // 20)
    turned = turn(fork_rule(cgroup, cooldown_ns=NS))
    forker = cgroup.run(*FORKER)
    fork_in(forker, 100)
    told = turned.await_record(Repeated)
    (finding,) = turned.of(Finding)
    assert (told.trace_id, told.path) == (finding.trace_id, cgroup.path)
    assert 1 < told.repeats < 100
    assert 0 < told.lasted_ns < NS
    assert told.time_ns >= finding.time_ns + NS + NS // 20
