"""Calls on their way into the journal: all that change something, of the refused as many as have room."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.link.frames import Refused
from controlplane.link.records import Call
from controlplane.plane.api import audit as audit_module
from controlplane.plane.api.audit import BURST, Audit
from controlplane.plane.arc import Arc, ArcRefusedError, ArcUnavailableError
from tests.plane.running import Ear

BEGUN = Call(outcome="begun", method="/t.T/Do", identity="somebody")
REFUSED = Call(outcome="refused", method="/t.T/Do")


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Audit, Ear]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    responder = Ear(theirs)
    async with Arc(ours) as arc:
        yield Audit(arc), responder
        responder.close()


def run(scenario: Callable[[Audit, Ear], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), linked() as (audit, responder):
            await scenario(audit, responder)

    asyncio.run(main())


async def told(audit: Audit) -> None:
    """What was told before has arrived: frames keep their order."""
    await audit.begin(BEGUN)


def number_of(responder: Ear) -> int:
    """Refused calls that were told of."""
    return sum(call.count for call in responder.calls if call.outcome == "refused")


def test_what_begins_is_journalled_before_it_does() -> None:
    async def scenario(audit: Audit, responder: Ear) -> None:
        await audit.begin(BEGUN)
        assert responder.calls == [BEGUN]

    run(scenario)


def test_without_a_journal_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(audit: Audit, responder: Ear) -> None:
        monkeypatch.setattr(responder, "_answer", lambda _: Refused("busy", "too many calls to journal"))
        with pytest.raises(ArcRefusedError, match="too many"):
            await audit.begin(BEGUN)
        audit._arc.close()
        with pytest.raises(ArcUnavailableError):
            await audit.begin(BEGUN)

    run(scenario)


def test_a_flood_of_refused_calls_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "WINDOW_S", 0.05)

    async def scenario(audit: Audit, responder: Ear) -> None:
        for _ in range(BURST + 1000):
            audit.refused(REFUSED)
        while number_of(responder) < BURST + 1000:
            responder.heard.clear()
            await responder.heard.wait()
        assert number_of(responder) == BURST + 1000
        assert BURST < len(responder.calls) < BURST + 10

    run(scenario)


def test_what_waits_is_told_at_the_end() -> None:
    async def scenario(audit: Audit, responder: Ear) -> None:
        for _ in range(BURST + 5):
            audit.refused(REFUSED)
        audit.close()
        await told(audit)
        assert number_of(responder) == BURST + 5

    run(scenario)
