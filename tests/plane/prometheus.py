"""A real Prometheus that scrapes one target, and questions to it."""

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.plane.running import free_port

SCRAPE = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: reflexarc
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
TLS = """
    scheme: https
    tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}, min_version: TLS13}}
"""


def config(port: int, authority: Authority | None, interval: str) -> str:
    text = SCRAPE.format(port=port, interval=interval)
    if authority is None:
        return text
    pair = authority.client()
    return text + TLS.format(ca=authority.ca, cert=pair.cert, key=pair.key)


@asynccontextmanager
async def prometheus(
    folder: Path, target: int, authority: Authority | None = None, interval: str = "200ms"
) -> AsyncIterator["Api"]:
    """A server of its own, ready when entered."""
    port = free_port()
    file = folder / "prometheus.yml"
    file.write_text(config(target, authority, interval))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={file}",
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
        yield Api(f"http://127.0.0.1:{port}/api/v1")
    finally:
        process.terminate()
        await process.wait()
    await draining


class Api:
    """Of one server."""

    def __init__(self, base: str) -> None:
        self._base = base

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """What the expression comes to now. Raises ValueError where it does not parse."""
        found: list[dict[str, Any]] = (await self._get("query", query=expression))["result"]
        return found

    async def await_query(self, expression: str, seconds: float = 20) -> list[dict[str, Any]]:
        """Asks until it comes to something: a first scrape takes its time."""
        return await _until(lambda: self.query(expression), seconds)

    async def exemplars(self, series: str) -> list[dict[str, Any]]:
        """As `await_query`, of the exemplars of all time."""
        return await _until(lambda: self._get("query_exemplars", query=series, start="0", end="2e9"), 20)

    async def _get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 -- JSON
        return json.loads(await asyncio.to_thread(self._fetch, path, parameters))["data"]

    def _fetch(self, path: str, parameters: dict[str, str]) -> str:
        url = f"{self._base}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode()}") from None


async def _until(ask: Callable[[], Awaitable[list[dict[str, Any]]]], seconds: float) -> list[dict[str, Any]]:
    async with asyncio.timeout(seconds):
        while True:
            if found := await ask():
                return found
            await asyncio.sleep(0.1)
