"""The state directory of a real daemon is full or read-only: it reacts all the same, and recovers."""

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.client import HealthClient
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in
from tests.kernel.test_daemon import Daemon, free_port, one_of, policy
from tests.small_disk import SmallDisk, beside


class Confined(Daemon):
    """A daemon whose state directory is a disk of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.metrics_port = free_port()
        self.state = folder / "state"
        self.state.mkdir(mode=0o755)

    def command(self) -> list[str]:
        plain = super().command()
        plain[plain.index("--metrics") + 1] = f"127.0.0.1:{self.metrics_port}"
        return beside(self.state, plain)

    @property
    def disk(self) -> SmallDisk:
        return SmallDisk(self.pid, self.state)

    def metric(self, sample: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return next(
            float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name == sample
        )


@pytest.fixture
def confined() -> Iterator[Confined]:
    yield from one_of(Confined)


@pytest.mark.parametrize("way", ["full", "read-only"])
def test_reflexes_go_on_without_a_disk(
    confined: Confined, make_cgroup: Callable[[], TestCgroup], way: str
) -> None:
    busy, victim = make_cgroup(), make_cgroup()
    (confined.policies / "busy.yaml").write_text(policy(busy, "{act: observe}", "test-busy"))
    (confined.policies / "victim.yaml").write_text(policy(victim, name="test-victim"))
    with confined.start() as client, HealthClient(confined.health_address()) as health:
        plane = health.watch("plane")
        assert next(plane) == "serving"
        if way == "full":
            confined.disk.fill()
        else:
            confined.disk.read_only(read_only=True)
        fork_in(busy.run(*FORKER), 400)
        assert next(plane) == "not_serving"
        fork_in(victim.run(*FORKER), 4)
        await_until(lambda: victim.frozen, 10)
        assert health.components()[""] == health.components()["arc"] == "serving"
        assert confined.metric("reflexarc_journal_write_errors_total") > 0
        if way == "full":
            confined.disk.make_room()
        else:
            confined.disk.read_only(read_only=False)
        assert next(plane) == "serving"
        assert [reflex.finding.policy for reflex in client.reflexes()].count("test-victim") == 1
