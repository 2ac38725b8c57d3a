"""The plane's own log on its way into the journal: whole, cut to size, bounded, from any thread."""

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest

from controlplane.link.records import MAX_TRACE, Said
from controlplane.plane.arc import Arc
from controlplane.plane.diagnostics import BURST, Diagnostics
from tests.plane.running import Ear

Log = Callable[[logging.Logger], None]


def logger_of(handler: logging.Handler) -> logging.Logger:
    """One that nobody else listens to."""
    logger = logging.getLogger("reflexarc.test")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers[:] = [handler]
    return logger


def heard(log: Log, lines: int, level: int = logging.DEBUG) -> list[Said]:
    """What reaches the arc, once so many lines have."""

    async def scenario() -> list[Said]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arc, responder = Arc(ours), Ear(theirs)
        await asyncio.to_thread(log, logger_of(Diagnostics(arc, level)))
        async with asyncio.timeout(10):
            while len(responder.said) < lines:
                responder.heard.clear()
                await responder.heard.wait()
        arc.close()
        responder.close()
        return responder.said

    return asyncio.run(scenario())


def test_a_line_has_its_level_and_says_where_it_comes_from() -> None:
    def log(logger: logging.Logger) -> None:
        logger.debug("d")
        logger.info("port %d", 7)
        logger.warning("w")
        logger.critical("c")

    told = heard(log, 3, logging.INFO)
    assert [(line.severity, line.text) for line in told] == [
        ("info", "port 7"),
        ("warn", "w"),
        ("error", "c"),
    ]
    assert {(line.logger, line.error, line.trace) for line in told} == {("reflexarc.test", "", "")}


def test_an_exception_is_told_with_its_innermost_calls() -> None:
    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise ValueError("\udcff" + "x" * 5000)

    def log(logger: logging.Logger) -> None:
        try:
            fail(50)
        except ValueError:
            logger.exception("y" * 5000)

    (line,) = heard(log, 1)
    assert (line.error, line.message[:6], len(line.message)) == ("ValueError", "\\udcff", 1024)
    assert (len(line.text), len(line.trace)) == (1024, MAX_TRACE)
    assert line.trace.endswith("x")


def test_of_too_many_lines_the_first_are_told_and_then_their_number() -> None:
    def log(logger: logging.Logger) -> None:
        for number in range(10 * BURST):
            logger.warning("line %d", number)

    told = heard(log, BURST + 1)
    assert [line.text for line in told[:-1]] == [f"line {number}" for number in range(len(told) - 1)]
    assert int(told[-1].text.split()[0]) == 10 * BURST - len(told) + 1
    assert told[-1].severity == "warn"


def test_without_an_arc_it_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arc = Arc(ours)
        theirs.close()
        await arc.closed()
        logger_of(Diagnostics(arc, logging.DEBUG)).warning("nobody hears it")
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert caplog.records == []
