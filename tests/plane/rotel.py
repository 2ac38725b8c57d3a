"""Rotel, an independent collector that prints every record it takes, and nginx in front of it for TLS."""

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.certificates import Authority
from tests.plane.running import free_port

_FIELD = re.compile(r"(ObservedTimestamp|Timestamp|SeverityText|SeverityNumber|EventName|Body|Flags): (.*)")
_ID = re.compile(r" +(Trace|Span) ID +: ([0-9a-f]*)")
_ATTRIBUTE = re.compile(r"     -> (.+?): (.*)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Printed:
    """One record as it was printed."""

    head: list[str] = field(default_factory=list)
    """Lines of resource and scope before it."""
    fields: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


class Rotel(NamedTuple):
    """A running collector."""

    grpc_port: int
    http_port: int
    output: asyncio.StreamReader

    async def records(self, count: int) -> list[Printed]:
        """The next so many, each read to its end."""
        found: list[Printed] = []
        head: list[str] = []
        async with asyncio.timeout(20):
            while len(found) < count or "Flags" not in found[-1].fields:
                line = _COLOUR.sub("", (await self.output.readline()).decode()).rstrip("\n")
                if line.startswith("ResourceLog #"):
                    head = []
                elif line.startswith("LogRecord #"):
                    found.append(Printed(head))
                elif found and found[-1].head is head:
                    _take(found[-1], line)
                else:
                    head.append(line)
        return found


@asynccontextmanager
async def rotel() -> AsyncIterator[Rotel]:
    """Started on free ports, ended at the end."""
    spec = importlib.util.find_spec("rotel")
    assert spec is not None
    assert spec.origin is not None
    grpc_port, http_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        str(Path(spec.origin).with_name("rotel-agent")),
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
        yield Rotel(grpc_port, http_port, process.stdout)
    finally:
        process.terminate()
        await process.communicate()


def _take(record: Printed, line: str) -> None:
    if found := _FIELD.fullmatch(line):
        record.fields[found[1]] = found[2]
    elif found := _ID.fullmatch(line):
        record.fields[f"{found[1]}Id"] = found[2]
    elif found := _ATTRIBUTE.fullmatch(line):
        record.attributes[found[1]] = found[2]


NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_protocols {protocols};
    ssl_certificate {server.cert};
    ssl_certificate_key {server.key};
    ssl_client_certificate {ca};
    ssl_verify_client on;
    location /opentelemetry.proto.collector {{ grpc_pass grpc://127.0.0.1:{to.grpc_port}; }}
    location /v1/logs {{ proxy_pass http://127.0.0.1:{to.http_port}; }}
  }}
}}
"""


@asynccontextmanager
async def nginx(
    folder: Path, authority: Authority, to: Rotel, protocols: str = "TLSv1.3"
) -> AsyncIterator[int]:
    """In front of a collector; its port. Lets in whom the authority has signed."""
    port = free_port()
    config = folder / "nginx.conf"
    server = authority.server()
    config.write_text(
        NGINX.format(folder=folder, port=port, protocols=protocols, server=server, ca=authority.ca, to=to)
    )
    process = await asyncio.create_subprocess_exec(
        *("nginx", "-p", str(folder), "-c", str(config), "-e", "stderr"), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield port
    finally:
        process.terminate()
        await process.communicate()
