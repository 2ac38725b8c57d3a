"""Every field of the data model for every event, as an independent collector understood it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk._logs import ReadableLogRecord

from controlplane import __version__
from controlplane.arc.reflex.journal import read_records
from controlplane.link.config import Export
from controlplane.link.records import ENCODER
from controlplane.link.segment import Entry
from controlplane.plane.journal import Stored
from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.catalogue import EVENTS
from controlplane.plane.telemetry.logs import Logs
from tests.certificates import Authority
from tests.plane.every import EVERY
from tests.plane.rotel import Printed, Rotel, nginx, rotel
from tests.plane.running import Node, node, plane

WAYS = ("grpc", "http/protobuf", "grpc behind nginx", "http/protobuf behind nginx")
NOT_JOURNALLED = {events.JOURNAL_DROPPED, events.JOURNAL_UNDECODABLE}


@asynccontextmanager
async def way_to(collector: Rotel, way: str, where: Node) -> AsyncIterator[Export]:
    """Directly, or through nginx with TLS 1.3 and a client certificate."""
    protocol, _, proxied = way.partition(" ")
    over_grpc = protocol == "grpc"
    export = Export(
        protocol="grpc" if over_grpc else "http/protobuf", compression="gzip" if proxied else None
    )
    if not proxied:
        port = collector.grpc_port if over_grpc else collector.http_port
        yield _with(export, endpoint=f"http://127.0.0.1:{port}")
        return
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: `make tools`")
    authority, client = secrets(where)
    async with nginx(where.root, authority, collector) as port:
        yield _with(export, endpoint=f"https://127.0.0.1:{port}", **client)


def secrets(where: Node) -> tuple[Authority, dict[str, str]]:
    """An authority, and files that the plane's account may read."""
    authority = Authority(where.root)
    pair = authority.client()
    return authority, {"ca": authority.ca, "cert": pair.cert, "key": pair.key}


def _with(export: Export, **fields: str) -> Export:
    known = {name: getattr(export, name) for name in export.__struct_fields__}
    return Export(**{**known, **fields})


def expected(where: Node) -> list[ReadableLogRecord]:
    """What we make of what lies in the journal."""
    logs = Logs({})
    directory = os.open(where.root / "journal", os.O_RDONLY | os.O_DIRECTORY)
    try:
        journalled = list(read_records(directory))
    finally:
        os.close(directory)
    made = (
        logs.make(Stored(header, Entry(index, ENCODER.encode(record), 0)), 0)
        for index, (header, record) in enumerate(journalled)
    )
    return [log for log in made if log is not None]


def printed(value: object) -> str:
    match value:
        case bool():
            return f"Bool({str(value).lower()})"
        case int():
            return f"Int({value})"
        case float():
            return f"Double({value:g})"
        case _:
            return f"Str({value})"


def fields_of(log: ReadableLogRecord) -> dict[str, str]:
    record = log.log_record
    assert record.severity_number is not None
    number = record.severity_number
    return {
        "Timestamp": str(record.timestamp),
        "SeverityText": record.severity_text or "",
        "SeverityNumber": f"SEVERITY_NUMBER_{number.name}({number.value})",
        "EventName": record.event_name or "",
        "Body": printed(record.body),
        "TraceId": f"{record.trace_id:032x}" if record.trace_id else "",
        "SpanId": f"{record.span_id:016x}" if record.span_id else "",
        "Flags": str(int(record.trace_flags or 0)),
    }


@pytest.mark.parametrize("way", WAYS)
def test_an_independent_collector_prints_every_field_of_every_event(way: str) -> None:
    async def scenario() -> tuple[list[Printed], list[ReadableLogRecord]]:
        with node() as where:
            async with rotel() as collector, way_to(collector, way, where) as export:
                config = where.config(export.endpoint, export=export)
                async with plane(where, config, OTEL_RESOURCE_ATTRIBUTES="k8s.node.name=n1"):
                    where.write(*EVERY)
                    return await collector.records(len(EVERY)), expected(where)

    found, made = asyncio.run(scenario())
    for record, log in zip(found, made, strict=True):
        assert int(record.fields.pop("ObservedTimestamp")) > int(record.fields["Timestamp"])
        assert record.fields == fields_of(log)
        assert record.attributes == {
            name: printed(value) for name, value in (log.log_record.attributes or {}).items()
        }
        head = "\n".join(record.head)
        for line in (
            f"Resource SchemaURL: {events.SCHEMA_URL}",
            "service.name: Str(reflexarc)",
            f"service.version: Str({__version__})",
            "os.type: Str(linux)",
            "k8s.node.name: Str(n1)",
            f"ScopeLogs SchemaURL: {events.SCOPE_SCHEMA_URL}",
            f"InstrumentationScope reflexarc {__version__}",
        ):
            assert line in head
    told = {record.fields["EventName"] for record in found}
    assert told == {kind.name for kind in EVENTS} - NOT_JOURNALLED


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_older_tls_is_refused(protocol: str) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: `make tools`")

    async def scenario() -> None:
        with node() as where:
            authority, client = secrets(where)
            async with rotel() as collector, nginx(where.root, authority, collector, "TLSv1.2") as port:
                config = where.config(
                    f"https://127.0.0.1:{port}", export=_with(Export(), protocol=protocol, **client)
                )
                async with plane(where, config) as running:
                    where.write(*EVERY)
                    await running.serving("export", serving=False)

    asyncio.run(scenario())
