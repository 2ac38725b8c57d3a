"""A real daemon watched by a real Prometheus over mutual TLS: all that the dashboard asks is answered."""

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.client import HealthClient
from controlplane.wire import management_pb2 as pb
from tests.certificates import Authority
from tests.deploy.dashboard import expressions, metrics
from tests.kernel.conftest import FORKER, TestCgroup, fork_in
from tests.kernel.test_daemon import Daemon, await_event, free_port, one_of, policy, step
from tests.plane.kubelet import probe
from tests.plane.prometheus import Api, prometheus

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


class Observed(Daemon):
    """A daemon whose metrics are served over TLS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.authority = Authority(folder)
        self.metrics_port = free_port()
        files = self.authority.files()
        (folder / "reflexarc.yaml").write_text(
            f"metrics: 127.0.0.1:{self.metrics_port}\n"
            f"metrics_tls: {{cert: {files.cert}, key: {files.key}, client_ca: {files.client_ca}}}\n"
        )

    def command(self) -> list[str]:
        plain = super().command()
        plain[plain.index("--metrics") : plain.index("--metrics") + 2] = []
        return [*plain, "--config", str(self.folder / "reflexarc.yaml")]


@pytest.fixture
def observed() -> Iterator[Observed]:
    yield from one_of(Observed)


def test_everything_the_dashboard_asks_is_answered(
    observed: Observed, cgroup: TestCgroup, tmp_path: Path
) -> None:
    (observed.policies / "forks.yaml").write_text(policy(cgroup))
    with observed.start() as client:
        events = client.watch()
        fork_in(cgroup.run(*FORKER), 4)
        await_event(events, step(pb.ReflexStep.KIND_EFFECT))

        async def main() -> None:
            async with prometheus(tmp_path, observed.metrics_port, observed.authority) as api:
                await api.await_query("count_over_time(reflexarc_up[1m]) > 2")
                await answered(api)

        asyncio.run(main())


async def answered(api: Api) -> None:
    silent = [f"{title}: {text}" for title, text in expressions() if not await api.query(text)]
    assert not silent, "\n".join(silent)
    unlabelled = []
    for _, text in expressions():
        for name in metrics(text):
            labels = {label for series in await api.query(name) for label in series["metric"]}
            asked = {word for group in re.findall(r"by \((.*?)\)", text) for word in group.split(", ")}
            unlabelled += [f"{name} has no label {label}" for label in asked - labels]
    assert not unlabelled
    (fired,) = await api.query('reflexarc_findings_total{policy="test-forks"}')
    assert fired["value"][1] == "1"
    (held,) = await api.query('reflexarc_acts_in_force{act="freeze"}')
    assert held["value"][1] == "1"
    (trace,) = [
        exemplar["labels"]["trace_id"]
        for series in await api.exemplars("reflexarc_reflex_latency_seconds_bucket")
        for exemplar in series["exemplars"]
    ]
    assert len(trace) == 32


def test_a_stopped_arc_is_found_out_by_the_first_probe(observed: Observed) -> None:
    with observed.start():
        with HealthClient(observed.health_address()) as health:
            assert next(status for status in health.watch("arc") if status == "serving")
        assert probe(observed.health_port) == "success"
        time.sleep(0.1)  # an answer is good for as long
        os.kill(observed.pid, signal.SIGSTOP)
        try:
            assert probe(observed.health_port) == "service unhealthy: NOT_SERVING"
        finally:
            os.kill(observed.pid, signal.SIGCONT)
        with HealthClient(observed.health_address()) as health:
            assert next(status for status in health.watch("arc") if status == "serving")
        assert probe(observed.health_port) == "success"
