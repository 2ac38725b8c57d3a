"""Story and diagnostics on this machine: forms, levels, and a reader that stands still."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.link.config import Config
from controlplane.plane.telemetry import events, forms
from controlplane.plane.telemetry.console import (
    BURST,
    LINES_A_SECOND,
    MAX_WAITING,
    Console,
    Outlet,
    console_for,
)
from controlplane.plane.telemetry.describe import Severity
from controlplane.plane.telemetry.logs import Logs
from tests.unit.plane import told
from tests.unit.plane.telemetry.test_forms import fields
from tests.unit.plane.telemetry.test_logs import stored

LOGS = Logs({"service.name": "s"})


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def logger(console: Console) -> logging.Logger:
    """One that nobody else listens to."""
    made = logging.getLogger("reflexarc.test")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    made.handlers[:] = [console]
    return made


def read(reading: int) -> list[dict[str, Any]]:
    """Records of OTLP JSON."""
    lines = os.read(reading, 1 << 16).splitlines()
    return [json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0] for line in lines]


def attributes(record: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"].get("stringValue", "") for item in record["attributes"]}


def test_the_story_is_told(pipe: tuple[int, int]) -> None:
    console = Console(forms.otlp_json, Outlet(pipe[1]), LOGS, "info")
    for record in told.reflex():
        console.tell(stored(record))
    console.tell(stored(told.intent(carried=True)))
    console.close()
    names = [record["eventName"] for record in read(pipe[0])]
    assert names == [events.FINDING, events.INTENT, events.ACT, events.EFFECT, events.UNDO]


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["DEBUG", "INFO", "WARN", "ERROR"]), ("warn", ["WARN", "ERROR"]), ("error", ["ERROR"])],
)
def test_diagnostics_have_levels(pipe: tuple[int, int], level: Severity, expected: list[str]) -> None:
    console = Console(forms.otlp_json, Outlet(pipe[1]), LOGS, level)
    log = logger(console)
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.critical("c")
    console.close()
    assert [record["severityText"] for record in read(pipe[0])] == expected


def test_the_story_has_levels_too(pipe: tuple[int, int]) -> None:
    console = Console(forms.otlp_json, Outlet(pipe[1]), LOGS, "warn")
    for record in told.reflex():
        console.tell(stored(record))
    console.close()
    assert [record["eventName"] for record in read(pipe[0])] == [events.FINDING, events.ACT]


def test_a_diagnostic_says_where_it_comes_from_and_what_went_wrong(pipe: tuple[int, int]) -> None:
    console = Console(forms.otlp_json, Outlet(pipe[1]), LOGS, "info")
    try:
        int("no number")
    except ValueError:
        logger(console).exception("skipped %d bytes", 7)
    console.close()
    (record,) = read(pipe[0])
    found = attributes(record)
    assert record["body"]["stringValue"] == "skipped 7 bytes"
    assert (found[events.LOGGER], found[events.EXCEPTION_TYPE]) == ("reflexarc.test", "ValueError")
    assert found[events.EXCEPTION_MESSAGE] == "invalid literal for int() with base 10: 'no number'"
    assert "test_console.py" in found[events.EXCEPTION_STACKTRACE]


def test_people_are_told_no_more_than_they_can_read(pipe: tuple[int, int]) -> None:
    now = 1000.0
    console = Console(forms.text, Outlet(pipe[1]), LOGS, "info", for_people=True, clock=lambda: now)
    for number in range(BURST + 100):
        console.tell(stored(told.effect(), number))
    now += 1.5 / LINES_A_SECOND
    console.tell(stored(told.effect()))
    console.tell(stored(told.effect()))
    console.close()
    lines = os.read(pipe[0], 1 << 16).splitlines()
    told_now = BURST + 100 - int(lines[-2].split()[2])
    assert told_now in (BURST - 1, BURST)
    assert lines[-2] == b"... and %d more records" % (BURST + 100 - told_now)
    assert len(lines) == told_now + 2


def test_a_reader_that_stands_still_holds_up_nobody(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    for _ in range(3 * MAX_WAITING):
        outlet.offer(b"x" * 1000)
    outlet.close()
    assert outlet.dropped >= MAX_WAITING
    # To the end: its thread must not outlive the descriptor, whose number is another file's then.
    left = 1000 * (3 * MAX_WAITING - outlet.dropped)
    while left:
        left -= len(os.read(pipe[0], 1 << 16))
    outlet.close()
    assert not outlet._thread.is_alive()


def test_a_reader_that_is_gone_is_survived() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outlet = Outlet(writing)
    outlet.offer(b"x")
    outlet.offer(b"y")
    outlet.close()
    os.close(writing)
    assert outlet.dropped == 2


def test_systemds_journal_takes_fields(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        console = console_for(Config(log_format="journald"), LOGS, str(tmp_path / "socket"))
        console.tell(stored(told.finding()))
        logger(console).warning("one\ntwo")
        journald.settimeout(5)
        first, second = fields(journald.recv(65536)), fields(journald.recv(65536))
        console.close()
    assert first["EVENT_NAME"] == events.FINDING
    assert second["MESSAGE"] == "one\\ntwo"


def test_without_systemds_journal_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        console_for(Config(log_format="journald"), LOGS, str(tmp_path / "none"))
