"""Every field of the data model, as an independent OTLP collector understood it."""

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controlplane import __version__
from controlplane.plane.telemetry import events
from tests.plane.running import free_port, node, plane
from tests.plane.writer import finding


def agent() -> str:
    spec = importlib.util.find_spec("rotel")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("rotel-agent"))


@asynccontextmanager
async def rotel() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """A collector that prints what it receives."""
    grpc_port, http_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        agent(),
        "start",
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
        *("--debug-log", "logs", "--debug-log-verbosity", "detailed", "--exporter", "blackhole"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )
    assert process.stdout is not None
    try:
        yield grpc_port, process.stdout
    finally:
        process.terminate()
        await process.communicate()


async def read_until(output: asyncio.StreamReader, ending: str) -> str:
    text = ""
    async with asyncio.timeout(20):
        while ending not in text:
            line = (await output.readline()).decode(errors="replace")
            assert line, f"the collector ended: {text}"
            text += re.sub(r"\x1b\[[0-9;]*m", "", line)
    return text


def test_an_independent_collector_prints_every_field() -> None:
    async def scenario() -> str:
        with node() as where:
            async with rotel() as (port, output):
                config = where.config(f"http://127.0.0.1:{port}")
                async with plane(where, config, OTEL_RESOURCE_ATTRIBUTES="k8s.node.name=n1"):
                    where.write(finding())
                    return await read_until(output, "Flags")

    text = asyncio.run(scenario())
    for expected in (
        f"Resource SchemaURL: {events.SCHEMA_URL}",
        "service.name: Str(reflexarc)",
        f"service.version: Str({__version__})",
        "os.type: Str(linux)",
        "k8s.node.name: Str(n1)",
        f"ScopeLogs SchemaURL: {events.SCOPE_SCHEMA_URL}",
        f"InstrumentationScope reflexarc {__version__}",
        "SeverityText: WARN",
        "SeverityNumber: SEVERITY_NUMBER_WARN(13)",
        f"EventName: {events.FINDING}",
        "Body: Str(fork-storm: process.fork of 5120 in /kubepods.slice/",
        "security_rule.name: Str(fork-storm)",
        "reflexarc.value: Double(5120)",
        "reflexarc.count: Int(64)",
        f"container.id: Str({'ab' * 32})",
        "k8s.pod.uid: Str(0f4e2cb8-0d8e-4d0a-9d75-5a5d4e2f3a10)",
        "process.pid: Int(4242)",
        "process.executable.name: Str(stress)",
        "Trace ID       : 00000000000000000000000000000001",
        "Span ID        : 0000000000000001",
        "Flags: 1",
    ):
        assert expected in text
    assert re.search(r"^Timestamp: \d{19}$", text, re.MULTILINE)
    assert re.search(r"^ObservedTimestamp: \d{19}$", text, re.MULTILINE)
    assert re.search(r"service\.instance\.id: Str\([0-9a-f]{16}\)", text)
    assert re.search(r"log\.record\.uid: Str\([0-9a-f]{16}-0\)", text)
    assert re.search(r"process\.creation\.time: Str\(\d{4}-\d\d-\d\dT[\d:.]+Z\)", text)
