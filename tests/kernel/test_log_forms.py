"""What a daemon tells on its own machine: lines of OTLP JSON, datagrams of journald's protocol."""

import json
import socket
import struct
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData

from controlplane.client import Client, Target
from controlplane.plane.telemetry import events
from tests.kernel.test_daemon import Daemon

BIND = 'mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@"'


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not under pytest's own folder, which is closed to the plane.
    with tempfile.TemporaryDirectory(prefix="reflexarc-test-") as made:
        yield Path(made)


def run(folder: Path, form: str, *within: str) -> bytes:
    """Starts a daemon, stops it, and returns its standard output."""
    command = [*within, *Daemon(folder).command(), "--log-format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        with Client(Target(socket=str(folder / "run/management.sock"))) as client:
            client.wait()
        process.terminate()
        said = process.communicate(timeout=20)[0]
    assert process.returncode == 0
    return said


def log_record(line: bytes) -> LogRecord:
    """One line, by the parser of OTLP's own messages, to which ids are base64."""
    said = json.loads(line)
    for record in said["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for key in record.keys() & {"traceId", "spanId"}:
            record[key] = b64encode(bytes.fromhex(record[key])).decode()
    (resource,) = ParseDict(said, LogsData()).resource_logs
    assert resource.schema_url == events.SCHEMA_URL
    return resource.scope_logs[0].log_records[0]


def test_every_line_of_standard_output_is_a_record(folder: Path) -> None:
    told = [log_record(line) for line in run(folder, "json").splitlines()]
    names = [record.event_name for record in told]
    assert events.ARC_ARMED in names
    assert names[-1] == events.ARC_STOPPED
    ports = [record.body.string_value for record in told if record.event_name == events.DIAGNOSTIC]
    assert sum("on port" in text for text in ports) == 2
    assert all(record.time_unix_nano and record.severity_text for record in told)


def fields(datagram: bytes) -> dict[str, bytes]:
    """As systemd reads them: `NAME=value`, or name, length and value."""
    found: dict[str, bytes] = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, separator, value = line.partition(b"=")
        if not separator:
            (length,) = struct.unpack_from("<Q", datagram)
            value, datagram = datagram[8 : 8 + length], datagram[9 + length :]
        found[name.decode()] = value
    return found


def test_systemds_journal_is_told_in_its_own_protocol(folder: Path) -> None:
    (folder / "journald").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(folder / "journald/socket"))
        (folder / "journald/socket").chmod(0o666)
        with ThreadPoolExecutor(1) as reader:
            reading = reader.submit(until_empty, journald)
            try:
                run(folder, "journald", "unshare", "-m", "sh", "-c", BIND, str(folder / "journald"))
            finally:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                    last.sendto(b"", str(folder / "journald/socket"))
        told = [fields(datagram) for datagram in reading.result()]
    by_name = {each["EVENT_NAME"].decode(): each for each in told}
    assert by_name[events.ARC_ARMED]["REFLEXARC_MODE"] == b"enforce"
    assert {events.ARC_STOPPED, events.DIAGNOSTIC} <= by_name.keys()
    assert {each["SYSLOG_IDENTIFIER"] for each in told} == {b"reflexarc"}
    assert all(each["PRIORITY"] in (b"3", b"4", b"6", b"7") and each["MESSAGE"] for each in told)


def until_empty(journald: socket.socket) -> list[bytes]:
    """All datagrams before an empty one. Read as they come, for only a few may wait."""
    return list(iter(partial(journald.recv, 1 << 16), b""))
