"""Wires the plane: link, journal, export, API, health and metrics around one event loop.

The one place where they meet. Decides in which order to begin and to stop, nothing else.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Final

from controlplane.link.config import Config
from controlplane.link.frames import GetStatus, SegmentMoved, Status
from controlplane.link.signals import Known
from controlplane.plane.api.audit import Audit
from controlplane.plane.api.handshakes import divert
from controlplane.plane.api.management import Management
from controlplane.plane.api.server import Served, serve_health, serve_socket
from controlplane.plane.arc import Arc, ArcRefusedError, ArcUnavailableError
from controlplane.plane.condition import Condition
from controlplane.plane.diagnostics import Diagnostics, journalled
from controlplane.plane.journal import Journal
from controlplane.plane.pump import Pump
from controlplane.plane.story import Story
from controlplane.plane.telemetry import settings
from controlplane.plane.telemetry.connect import collector_for
from controlplane.plane.telemetry.console import Console, console_for
from controlplane.plane.telemetry.export import Exporter, Paths
from controlplane.plane.telemetry.logs import Logs, node_resource
from controlplane.plane.telemetry.metrics import Snapshot
from controlplane.plane.telemetry.processes import Usage, usage
from controlplane.plane.telemetry.scrape import Scrapes, serve_metrics
from controlplane.plane.tls import Context, TlsError
from controlplane.wire.methods import Role

STOP_S: Final = 5.0
"""A stop takes no longer: then the kernel ends the process."""
DRAIN_S: Final = 2.5
"""Of that, for the disk and the collector to take what is left."""
STATUS_S: Final = 2.0
"""Longest wait of a scrape for the arc."""

SOCKET: Final = "management.sock"

log = logging.getLogger("reflexarc.plane")


def serve(config: Config, environ: Mapping[str, str], known: Known, *, link: int, doorbell: int) -> int:
    """Run until SIGTERM or the end of the link; the exit code."""
    core_log = divert() if config.management.address else None
    try:
        config = settings.with_environment(config, environ)
        logs = Logs(node_resource(config.export.resource))
        with closing(console_for(config, logs)) as console:
            logging.basicConfig(handlers=[console], level=console.level)
            asyncio.run(_serve(config, known, socket.socket(fileno=link), doorbell, logs, console, core_log))
    except TlsError as error:
        sys.stderr.write(f"reflexarc plane: {error}\n  hint: {error.hint}\n")
        return 3
    except (settings.SettingsError, OSError) as error:
        sys.stderr.write(f"reflexarc plane: {error}\n")
        return 3 if isinstance(error, settings.SettingsError) else 1
    return 0


async def _serve(
    config: Config,
    known: Known,
    link: socket.socket,
    doorbell: int,
    logs: Logs,
    console: Console,
    core_log: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ThreadPoolExecutor(1, "work") as work, ThreadPoolExecutor(1, "disk") as disk:
        loop.set_default_executor(work)
        async with AsyncExitStack() as stack:
            arc = Arc(link)
            stack.enter_context(journalled(Diagnostics(arc, console.level)))
            plane = Plane(config, known, arc, disk, doorbell, logs, console)
            stack.callback(plane.close)
            await plane.listen(stack)
            await plane.run(stop, core_log)


class Plane:
    """The parts, each of which knows nothing of the others."""

    def __init__(
        self,
        config: Config,
        known: Known,
        arc: Arc,
        disk: ThreadPoolExecutor,
        doorbell: int,
        logs: Logs,
        console: Console,
    ) -> None:
        self._config = config
        self._arc = arc
        self._disk = disk
        self._condition = Condition(
            arc, exporting=bool(config.export.endpoint), tls=bool(config.management.address)
        )
        self._scrapes: Scrapes | None = None
        self._story = Story()
        self._served = Served(Management(arc, self._story, known), Audit(arc), self._story.end)
        state = Path(config.state_dir)
        self._journal = Journal(
            Path(config.runtime_dir) / "journal", state / "journal", config.journal_disk_bytes
        )
        self._exporter = self._make_exporter(state, logs) if config.export.endpoint else None
        self._pump = Pump(
            self._journal,
            disk,
            doorbell,
            feed=self._story.feed,
            live=console.tell,
            moved=lambda segment: arc.tell(lambda number: SegmentMoved(id=number, segment=segment)),
            opened=self._on_opened,
            synced=self._on_synced,
            trouble=self._condition.trouble("journal"),
        )

    async def listen(self, stack: AsyncExitStack) -> None:
        """Open every port and the socket for as long as the stack lasts. Raises OSError."""
        config = self._config
        for path, role in sockets(config):
            await stack.enter_async_context(serve_socket(path, role, self._served))
        port = await stack.enter_async_context(
            serve_health(config.health, self._condition.health, self._served.audit)
        )
        log.info("health on port %d", port)
        host, _, number = config.metrics.rpartition(":")
        tls = Context(config.metrics_tls) if config.metrics_tls else None
        serving = serve_metrics(host.strip("[]"), int(number), self._snapshot, tls)
        self._scrapes = await stack.enter_async_context(serving)
        log.info("metrics on port %d", self._scrapes.port)

    async def run(self, stop: asyncio.Event, core_log: int | None) -> None:
        """Pump and export until told to stop, or until the arc is gone; then take in what is left."""
        async with asyncio.TaskGroup() as tasks:
            pumping = tasks.create_task(self._pump.run())
            others = [tasks.create_task(self._watch_link(stop))]
            if self._exporter:
                others.append(tasks.create_task(self._exporter.run()))
            if core_log is not None:
                others.append(tasks.create_task(self._serve_tls(core_log)))
            await stop.wait()
            signal.setitimer(signal.ITIMER_REAL, STOP_S)
            self._pump.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._finish(pumping)
            for task in (pumping, *others):
                task.cancel()

    def close(self) -> None:
        """Let go of the link and of the disk."""
        self._served.audit.close()
        self._arc.close()
        self._journal.close()

    async def _serve_tls(self, core_log: int) -> None:
        # 10 MiB, which a daemon that is managed over UNIX sockets alone does without.
        from controlplane.plane.api.tls_server import keep_serving  # noqa: PLC0415

        trouble = self._condition.trouble("certificates")
        await keep_serving(self._config.management, self._arc, self._served, core_log, trouble)

    async def _finish(self, pumping: asyncio.Task[None]) -> None:
        await pumping
        await self._pump.drain()
        if self._exporter:
            await self._exporter.settled()

    async def _watch_link(self, stop: asyncio.Event) -> None:
        # The arc tells its health after the first command.
        await self._status()
        await self._arc.closed()
        stop.set()

    def _on_opened(self) -> None:
        if self._exporter:
            self._exporter.begin()

    async def _on_synced(self) -> None:
        if self._exporter:
            self._exporter.wake()
        if self._journal.crowded():
            if self._exporter:
                await self._exporter.make_room()
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._disk, lambda: self._journal.make_room(None))

    def _make_exporter(self, state: Path, logs: Logs) -> Exporter:
        export = self._config.export
        return Exporter(
            self._journal,
            self._disk,
            logs,
            collector_for(export),
            Paths(state / "export.json", state / "dead-letter.otlp"),
            batch_bytes=export.batch_bytes,
            trouble=self._condition.trouble("collector"),
        )

    async def _status(self) -> Status | None:
        try:
            async with asyncio.timeout(STATUS_S):
                status = await self._arc.ask_for(Status, lambda number: GetStatus(id=number))
        except TimeoutError:
            self._condition.heard(answered=False)
            return None
        except (ArcUnavailableError, ArcRefusedError):
            return None
        self._condition.heard(answered=True)
        return status

    async def _snapshot(self) -> Snapshot:
        tally, exporter = self._pump.tally, self._exporter
        status = await self._status()
        return Snapshot(
            status=status,
            health=dict(self._condition.serving),
            journal_bytes=self._journal.size,
            journal_missing=tally.missing + tally.lacking,
            journal_undecodable=tally.undecodable,
            journal_write_errors=tally.write_errors,
            backlog_bytes=exporter.backlog if exporter else 0,
            log_records=dict(exporter.records) if exporter else {},
            export_failures=dict(exporter.failures) if exporter else {},
            watchers=self._story.watchers,
            watchers_dropped=dict(self._story.watchers_dropped),
            health_watchers=self._condition.health.watchers,
            scrapes=dict(self._scrapes.ended) if self._scrapes else {},
            usage=_usage(status),
        )


def sockets(config: Config) -> Iterator[tuple[Path, Role]]:
    """The UNIX sockets of management, and the role that each gives."""
    runtime = Path(config.runtime_dir)
    yield runtime / "plane" / SOCKET, Role.ADMIN
    for role in config.management.groups():
        yield runtime / role / SOCKET, Role[role.upper()]


def _usage(status: Status | None) -> dict[str, Usage]:
    pids = {"plane": os.getpid()} | ({"arc": status.pid} if status else {})
    return {name: used for name, pid in pids.items() if (used := usage(pid)) is not None}
