"""The plane's end of the link, against a peer that speaks real frames or real rubbish."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.link import frames
from controlplane.plane import arc as arc_module
from controlplane.plane.arc import MAX_OUTSTANDING, Arc, ArcRefusedError, ArcUnavailableError
from tests.unit.plane.responder import STATUS, Responder


def status(id_: int) -> frames.Command:
    return frames.GetStatus(id=id_)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Arc, Responder]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    responder = Responder(theirs)
    try:
        async with Arc(ours) as arc:
            yield arc, responder
    finally:
        responder.close()


def with_link(test: Callable[[Arc, Responder], Awaitable[None]]) -> None:
    async def main() -> None:
        async with linked() as (arc, responder):
            await test(arc, responder)

    asyncio.run(main())


def test_an_answer_reaches_the_one_who_asked() -> None:
    async def main(arc: Arc, responder: Responder) -> None:
        moved = lambda id_: frames.SegmentMoved(id=id_, segment=3)  # noqa: E731
        first, second = await asyncio.gather(arc.ask(status), arc.ask(moved))
        assert first == STATUS
        assert second == frames.Done()
        assert len({command.id for command in responder.commands}) == 2

    with_link(main)


def test_a_refusal_is_raised_by_ask_for_and_returned_by_ask() -> None:
    def delete(id_: int) -> frames.Command:
        return frames.DeleteRule(id=id_, name="nobody")

    async def main(arc: Arc, _: Responder) -> None:
        assert isinstance(await arc.ask(delete), frames.Refused)
        with pytest.raises(ArcRefusedError, match="nobody") as caught:
            await arc.ask_for(frames.Done, delete)
        assert caught.value.refused.reason == "not_found"

    with_link(main)


def test_an_answer_of_another_kind_is_no_answer() -> None:
    async def main(arc: Arc, _: Responder) -> None:
        with pytest.raises(ArcUnavailableError, match="Status instead of Streams"):
            await arc.ask_for(frames.Streams, status)

    with_link(main)


def test_silence_ends_in_an_error_and_a_late_reply_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arc_module, "TIMEOUT_S", 0.01)

    async def main(arc: Arc, responder: Responder) -> None:
        responder.silent = True
        with pytest.raises(ArcUnavailableError, match="no answer"):
            await arc.ask(status)
        responder.silent = False
        responder.send(frames.Reply(responder.commands[0].id, STATUS))
        assert await arc.ask(status) == STATUS
        assert arc.counters["late_reply"] == 1

    with_link(main)


def test_questions_are_bounded() -> None:
    async def main(arc: Arc, responder: Responder) -> None:
        responder.silent = True
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(arc.ask(status)) for _ in range(MAX_OUTSTANDING)]
            await asyncio.sleep(0)
            with pytest.raises(ArcUnavailableError, match="too many"):
                await arc.ask(status)
            for task in tasks:
                task.cancel()
        responder.silent = False
        assert await arc.ask(status) == STATUS

    with_link(main)


def test_an_arc_that_does_not_read_costs_bounded_memory() -> None:
    def moved(id_: int) -> frames.Command:
        return frames.SegmentMoved(id=id_, segment=id_)

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            async with Arc(ours) as arc:
                while not arc.counters["unsent"]:
                    arc.tell(moved)
                with pytest.raises(ArcUnavailableError, match="does not read"):
                    await arc.ask(status)
                got = [frames.COMMANDS.decode(theirs.recv(frames.MAX_FRAME)).id]
                while len(got) < got[0] + arc_module.MAX_UNSENT:
                    await asyncio.sleep(0)
                    got.append(frames.COMMANDS.decode(theirs.recv(frames.MAX_FRAME)).id)
                assert got == list(range(1, len(got) + 1))

    asyncio.run(main())


def test_bad_frames_are_counted_and_skipped() -> None:
    async def main(arc: Arc, responder: Responder) -> None:
        for rubbish in (b"\xc1", b"\x80", frames.ENCODER.encode(frames.GetStatus(id=1))):
            responder._sock.send(rubbish)
        responder._sock.send(bytes(frames.MAX_FRAME + 1))
        assert await arc.ask(status) == STATUS
        assert arc.counters["bad_frame"] == 4

    with_link(main)


def test_a_command_that_fits_no_frame_is_not_sent() -> None:
    def huge(id_: int) -> frames.Command:
        return frames.DeleteRule(id=id_, name="x" * frames.MAX_FRAME)

    async def main(arc: Arc, responder: Responder) -> None:
        with pytest.raises(ValueError, match="a frame holds"):
            await arc.ask(huge)
        assert await arc.ask(status) == STATUS
        assert len(responder.commands) == 1

    with_link(main)


def test_health_is_kept_and_told_on_change() -> None:
    async def main(arc: Arc, responder: Responder) -> None:
        told: list[arc_module.Health] = []
        changed = asyncio.Event()
        arc.on_health(told.append)
        arc.on_health(lambda health: changed.set() if health else None)
        health = {"arc": (True, ""), "sensor.cpu": (False, "no BTF")}
        responder.send(frames.Changed(health))
        await changed.wait()
        assert told == [{}, health]
        assert arc.health == health

    with_link(main)


def test_files_that_come_along_are_closed_and_nothing_else() -> None:
    async def main(arc: Arc, responder: Responder) -> None:
        reading, writing = os.pipe()
        socket.send_fds(responder._sock, [frames.ENCODER.encode(frames.Closing())], [writing])
        os.close(writing)
        assert await arc.ask(status) == STATUS
        assert os.read(reading, 1) == b""
        os.close(reading)
        assert not arc.counters

    with_link(main)


def test_the_end_of_the_arc_ends_the_link_and_every_question() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        async with Arc(ours) as arc:
            question = asyncio.create_task(arc.ask(status))
            await asyncio.sleep(0)
            theirs.close()
            await arc.closed()
            with pytest.raises(ArcUnavailableError, match="gone"):
                await question
            with pytest.raises(ArcUnavailableError, match="gone"):
                await arc.ask(status)

    asyncio.run(main())
