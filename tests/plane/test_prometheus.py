"""A real Prometheus scrapes a real plane, and answers queries about it."""

import asyncio
import shutil
import socket
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.link.frames import Exemplar, Latency
from tests.certificates import Authority
from tests.plane.prometheus import prometheus
from tests.plane.running import Node, Running, node, plane
from tests.unit.plane.responder import STATUS

TRACE = bytes(range(16))


def run(scenario: Callable[[Node, Running], Awaitable[None]]) -> None:
    async def main() -> None:
        with node() as where:
            async with asyncio.timeout(50), plane(where, where.config()) as running:
                await scenario(where, running)

    asyncio.run(main())


def get(url: str, accept: str = "*/*") -> str:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as response:
        return str(response.read().decode())


async def scrape(running: Running, accept: str = "*/*") -> str:
    url = f"http://127.0.0.1:{running.ports['metrics']}/metrics"
    return await asyncio.to_thread(get, url, accept)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_prometheus_stores_values_and_exemplars(tmp_path: Path) -> None:
    async def scenario(_: Node, running: Running) -> None:
        wall_ns = 1_700_000_000_000_000_000
        exemplars = (Exemplar(TRACE, 9_000, wall_ns), None, None)
        latency = Latency(bounds_ns=(10_000, 100_000), counts=(1, 2, 1), sum_ns=300_000, exemplars=exemplars)
        running.responder.status = msgspec.structs.replace(STATUS, latency=latency)
        async with prometheus(tmp_path, running.ports["metrics"]) as api:
            (up,) = await api.await_query("reflexarc_up")
            assert up["value"][1] == "1"
            (lost,) = await api.query('reflexarc_events_lost_total{sensor="process"}')
            assert (lost["metric"]["reason"], lost["value"][1]) == ("ring", "2")
            (p50,) = await api.query("histogram_quantile(0.5, reflexarc_reflex_latency_seconds_bucket)")
            assert 10e-6 < float(p50["value"][1]) <= 100e-6
            (series,) = await api.exemplars("reflexarc_reflex_latency_seconds_bucket")
            (exemplar,) = series["exemplars"]
            assert exemplar["labels"] == {"trace_id": TRACE.hex()}
            assert float(exemplar["value"]) == 9e-6

    run(scenario)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_prometheus_scrapes_over_mutual_tls_while_others_are_silent(tmp_path: Path) -> None:
    async def scenario(where: Node) -> None:
        authority = Authority(where.root)
        async with plane(where, where.config(metrics_tls=authority.files())) as running:
            port = running.ports["metrics"]
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
            async with prometheus(tmp_path, port, authority) as api:
                (up,) = await api.await_query("reflexarc_up")
                assert up["value"][1] == "1"
                stranger = Authority(tmp_path, "stranger")
                (tmp_path / "stranger").mkdir()
                async with prometheus(tmp_path / "stranger", port, stranger) as refused:
                    (down,) = await refused.await_query("up")
                    assert down["value"][1] == "0"
                await api.await_query('reflexarc_scrapes_total{outcome="refused"} > 0')
            for connection in idle:
                connection.close()

    async def main() -> None:
        with node() as where:
            async with asyncio.timeout(50):
                await scenario(where)

    asyncio.run(main())


def test_a_plane_whose_certificates_cannot_be_used_does_not_start() -> None:
    async def main() -> None:
        with node() as where:
            files = msgspec.structs.replace(Authority(where.root).files(), key="/nowhere")
            with pytest.raises(AssertionError, match="hint: they must be PEM"):
                async with plane(where, where.config(metrics_tls=files)):
                    pass

    asyncio.run(main())


def test_promtool_finds_no_fault() -> None:
    async def scenario(_: Node, running: Running) -> None:
        text = await scrape(running)
        process = await asyncio.create_subprocess_exec(
            *("promtool", "check", "metrics"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _error = await process.communicate(text.encode())
        assert process.returncode == 0, output.decode()

    run(scenario)


def test_an_arc_that_does_not_answer_costs_only_its_own_metrics() -> None:
    async def scenario(_: Node, running: Running) -> None:
        running.responder.silent = True
        text = await scrape(running)
        assert "reflexarc_up 0.0" in text
        assert "reflexarc_journal_bytes" in text
        assert "reflexarc_streams" not in text

    run(scenario)


def test_idle_connections_do_not_hold_up_a_scrape() -> None:
    async def scenario(_: Node, running: Running) -> None:
        idle = [socket.create_connection(("127.0.0.1", running.ports["metrics"])) for _ in range(40)]
        try:
            assert "reflexarc_up 1.0" in await scrape(running)
        finally:
            for connection in idle:
                connection.close()

    run(scenario)


def test_nothing_runs_between_scrapes() -> None:
    async def scenario(_: Node, running: Running) -> None:
        await scrape(running)
        before = int(running.status()["Threads"])
        for _number in range(20):
            await scrape(running)
        # Fewer is possible: gRPC lets threads of its own go when they have been idle.
        assert int(running.status()["Threads"]) <= before

    run(scenario)
