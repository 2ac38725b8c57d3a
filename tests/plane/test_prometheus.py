"""A real Prometheus scrapes a real plane, and answers queries about it."""

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane.link.frames import Exemplar, Latency
from tests.plane.running import Node, Running, free_port, node, plane
from tests.unit.plane.responder import STATUS

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: reflexarc, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""
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


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[str]:
    """A server of its own, ready when entered; gives the base of its API."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(port=target))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while b"ready to receive web requests" not in (line := await process.stderr.readline()):
                assert line, "prometheus ended"
        draining = asyncio.create_task(process.stderr.read())
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        await process.wait()
    await draining


async def ask(api: str, path: str, **parameters: str) -> list[dict[str, Any]]:
    """Asks until there is something to tell: a first scrape takes its time."""
    url = f"{api}/{path}?{urllib.parse.urlencode(parameters)}"
    async with asyncio.timeout(20):
        while True:
            data = json.loads(await asyncio.to_thread(get, url))["data"]
            found: list[dict[str, Any]] = data["result"] if path == "query" else data
            if found:
                return found
            await asyncio.sleep(0.1)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_prometheus_stores_values_and_exemplars(tmp_path: Path) -> None:
    async def scenario(_: Node, running: Running) -> None:
        wall_ns = 1_700_000_000_000_000_000
        exemplars = (Exemplar(TRACE, 9_000, wall_ns), None, None)
        latency = Latency(bounds_ns=(10_000, 100_000), counts=(1, 2, 1), sum_ns=300_000, exemplars=exemplars)
        running.responder.status = msgspec.structs.replace(STATUS, latency=latency)
        async with prometheus(tmp_path, running.ports["metrics"]) as api:
            (up,) = await ask(api, "query", query="reflexarc_up")
            assert up["value"][1] == "1"
            (lost,) = await ask(api, "query", query='reflexarc_events_lost_total{sensor="process"}')
            assert (lost["metric"]["reason"], lost["value"][1]) == ("ring", "2")
            (p50,) = await ask(
                api, "query", query="histogram_quantile(0.5, reflexarc_reflex_latency_seconds_bucket)"
            )
            assert 10e-6 < float(p50["value"][1]) <= 100e-6
            (series,) = await ask(
                api, "query_exemplars", query="reflexarc_reflex_latency_seconds_bucket", start="0", end="2e9"
            )
            (exemplar,) = series["exemplars"]
            assert exemplar["labels"] == {"trace_id": TRACE.hex()}
            assert float(exemplar["value"]) == 9e-6

    run(scenario)


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
    """A thread a request, and none is left behind."""

    async def scenario(_: Node, running: Running) -> None:
        await scrape(running)
        before = int(running.status()["Threads"])
        for _number in range(20):
            await scrape(running)
        # Fewer is possible: gRPC lets threads of its own go when they have been idle.
        assert int(running.status()["Threads"]) <= before

    run(scenario)
