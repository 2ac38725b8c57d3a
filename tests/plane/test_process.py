"""The plane as the arc starts it: a real process, a real collector, signals and kills."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from controlplane.link.account import account
from controlplane.link.config import Export
from controlplane.link.frames import Changed
from tests.plane.running import Node, node, plane
from tests.plane.sink import Sink, attributes_of, hang
from tests.plane.writer import notice
from tests.unit.plane import told

MIB = 1024


def run(scenario: Callable[[Node, Sink], Awaitable[None]], *, keep: int = 16) -> None:
    async def main() -> None:
        async with asyncio.timeout(50), Sink() as sink:
            with node(keep=keep) as where:
                await scenario(where, sink)

    asyncio.run(main())


def endpoint(sink: Sink) -> str:
    return f"http://127.0.0.1:{sink.port}"


def test_records_go_from_the_journal_to_the_collector() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            for start in range(0, 1000, 100):
                where.write(*(notice(number) for number in range(start, start + 100)))
                await sink.until_taken(start + 100)
            assert max(sink.uids.values()) == 1
            assert where.writer.moved(await running.moved())
            running.process.send_signal(signal.SIGTERM)
            assert await running.ended() == 0

    run(scenario)


def test_it_is_small_and_has_no_privileges() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            where.write(*(notice(number) for number in range(1000)))
            await sink.until_taken(1000)
            status = running.status()
            assert int(status["VmRSS"].split()[0]) <= 64 * MIB
            if os.geteuid() == 0:
                assert status["Uid"].split() == [str(account("").uid)] * 4
                assert {status[name] for name in status if name.startswith("Cap")} == {"0" * 16}

    run(scenario)


def test_killed_and_started_again_no_record_is_missing() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        for life in range(3):
            async with plane(where, where.config(endpoint(sink))) as running:
                for _ in range(10):
                    where.write(*(notice(number) for number in range(200)))
                await sink.until_taken(life * 2000 + 300)
                running.process.kill()
        async with plane(where, where.config(endpoint(sink))):
            await sink.until_taken(where.written)
        assert len(sink.uids) == where.written == 6000

    run(scenario)


def test_an_outage_makes_records_late_and_loses_none() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            where.write(notice(0))
            await sink.until_taken(1)
            await sink.stop()
            where.write(*(notice(number) for number in range(1, 700)))
            await running.serving("export", serving=False)
            where.write(*(notice(number) for number in range(700, 1500)))
            await sink.start()
            await sink.until_taken(1500)
            await running.serving("export", serving=True)
        # The answer for the first record may have been under way when the collector went.
        assert {uid for uid, count in sink.uids.items() if count > 1} <= {f"{where.writer.instance:016x}-0"}

    run(scenario)


def test_a_stop_with_a_hanging_collector_is_quick_and_loses_nothing() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        sink.always = hang
        async with plane(where, where.config(endpoint(sink))) as running:
            where.write(*(notice(number) for number in range(100)))
            await sink.until(lambda: sink.attempts > 0)
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert time.monotonic() - began < 5
        sink.always = None
        async with plane(where, where.config(endpoint(sink))):
            await sink.until_taken(100)

    run(scenario)


def test_the_same_over_http() -> None:
    async def scenario(where: Node, _: Sink) -> None:
        connected = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            connected.set()
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            config = where.config(url, export=Export(protocol="http/protobuf", timeout_ms=30_000))
            async with plane(where, config) as running:
                where.write(*(notice(number) for number in range(100)))
                await connected.wait()
                began = time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                assert await running.ended() == 0
                assert time.monotonic() - began < 5

    run(scenario)


def test_the_story_is_told_here_in_the_form_asked_for() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink), log_format="text")) as running:
            where.write(*told.reflex())
            await sink.until_taken(5)
            running.process.send_signal(signal.SIGTERM)
            assert await running.ended() == 0
            said = await running.stderr
        assert "WARN  finding: fork-storm: process.fork of 812 in /storm (rate 812 over 500)\n" in said
        assert said.index("reflex.intent: ") < said.index("reflex.act: ") < said.index("reflex.undo: ")

    run(scenario)


def test_what_is_written_before_a_stop_is_exported_before_the_end() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            await running.serving("export", serving=True)
            where.writer.must_append(notice(1))  # without a bell, as a dying arc would
            running.process.send_signal(signal.SIGTERM)
            assert await running.ended() == 0
        assert len(sink.uids) == 1

    run(scenario)


def test_it_ends_with_the_link() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            running.responder.close()
            assert await running.ended() == 0

    run(scenario)


def test_the_whole_serves_while_its_arc_does() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))) as running:
            running.responder.send(Changed({"arc": (True, ""), "sensor.cpu": (False, "no BTF")}))
            await running.serving("", serving=True)
            await running.serving("sensor.cpu", serving=False)

    run(scenario)


def test_with_the_plane_away_too_long_the_loss_is_told() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        async with plane(where, where.config(endpoint(sink))):
            where.write(*(notice(number) for number in range(10)))
            await sink.until_taken(10)
        for _ in range(100):
            where.write(*(notice(number, "x" * 100) for number in range(50)))
        last = f"{where.writer.instance:016x}-{where.written - 1}"
        async with plane(where, where.config(endpoint(sink))):
            await sink.until(lambda: last in sink.uids)
        (gap,) = (record for record in sink.records() if record.event_name == "reflexarc.journal.dropped")
        assert attributes_of(gap)["reflexarc.count"] + len(sink.uids) - 1 == where.written

    run(scenario, keep=3)


def test_a_state_directory_that_refuses_is_survived() -> None:
    async def scenario(where: Node, sink: Sink) -> None:
        where.state.mkdir(mode=0o755)
        (where.state / "journal").write_text("in the way")
        async with plane(where, where.config(endpoint(sink))) as running:
            where.write(notice(1))
            await running.serving("export", serving=False)
            (where.state / "journal").unlink()
            where.write(notice(2))
            await sink.until_taken(2)
            await running.serving("export", serving=True)

    run(scenario)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "not of the form"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no-value", "not of the form key=value"),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_the_start(variable: str, value: str, said: str) -> None:
    async def scenario(where: Node, _: Sink) -> None:
        with pytest.raises(AssertionError, match=said):
            async with plane(where, where.config(), **{variable: value}):
                pass

    run(scenario)
