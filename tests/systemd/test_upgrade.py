"""Another version in the place of one that runs: nothing stays frozen, nothing is lost or unlearned."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.baselines import load
from controlplane.client import Client
from controlplane.link.config import Config
from controlplane.link.records import Notice
from tests.bench.daemon import journalled
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in
from tests.systemd.conftest import connected
from tests.systemd.unit import POLICIES, RUNTIME, install, shown, systemctl
from tests.upgrading import FELT, FROZEN, gap_ns

STEADY = ("sh", "-c", "while :; do sleep 0.1; done")
"""Forks some ten times a second for as long as it lives."""


def learned() -> dict[tuple[int, int], int]:
    """Signal and key of each stream that bets -> since when it is known."""
    folder = os.open(RUNTIME, os.O_RDONLY)
    try:
        return {(past.signal, past.key): past.began_ns for past in load(folder)[1].pasts}
    finally:
        os.close(folder)


def felt(client: Client) -> Callable[[], bool]:
    """Whether something has been felt since the start."""
    return lambda: client.status().findings.get("felt", 0) > 0


@pytest.fixture
def steady(make_cgroup: Callable[[], TestCgroup]) -> TestCgroup:
    """A cgroup in which something is felt all the time."""
    made = make_cgroup()
    made.run(*STEADY)
    return made


def test_an_upgrade_leaves_nothing_frozen_and_loses_nothing(
    client: Client,
    cgroup: TestCgroup,
    steady: TestCgroup,
    wheels: list[Path],
    record_property: Callable[[str, object], None],
) -> None:
    (POLICIES / "frozen.yaml").write_text(FROZEN.format(path=cgroup.path))
    (POLICIES / "felt.yaml").write_text(FELT.format(path=steady.path))
    systemctl("reload")
    fork_in(cgroup.run(*FORKER), 20)
    await_until(lambda: cgroup.frozen, 20)
    await_until(felt(client), 20)
    before = client.status()
    old = max(instance for (instance, _), _ in journalled(Config()))

    install(wheels[1])

    with connected() as upgraded:
        upgraded.wait()
        after = upgraded.status()
        await_until(felt(upgraded), 20)
        known = learned()
    assert shown("NRestarts") == "0"
    assert before.version != after.version
    assert after.version in wheels[1].name
    assert not cgroup.frozen
    systemctl("stop")

    records = journalled(Config())
    new = max(instance for (instance, _), _ in records)
    told_by = {
        instance: [index for (writer, index), _ in records if writer == instance] for instance in (old, new)
    }
    for indexes in told_by.values():
        assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
    assert len(told_by[old]) >= before.journal_records
    notices = [record.name for _, record in records if isinstance(record, Notice)]
    assert "baselines.unreadable" not in notices
    kept = learned()
    assert known.items() & kept.items()
    assert all(kept[stream] == known[stream] for stream in kept.keys() & known.keys())
    record_property("gap", f"{gap_ns(records, old, new) / 1e9:.1f} s")
