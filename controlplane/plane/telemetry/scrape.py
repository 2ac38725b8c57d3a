"""HTTP for Prometheus, in the plane's event loop: few connections, each with one deadline for all of it.

One request a connection, so that with TLS every scrape shows its certificate. Nothing wakes up between
scrapes. What is served is made by `metrics`.
"""

import asyncio
import gzip
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from typing import Final, NamedTuple

from prometheus_client.exposition import choose_encoder

from controlplane.plane.telemetry.metrics import Metrics, Snapshot
from controlplane.plane.tls import Context

MAX_CONNECTIONS: Final = 16
MAX_REQUEST: Final = 8 * 1024
DEADLINE_S: Final = 10.0
"""For handshake, request and response together."""
PAUSE_S: Final = 1.0
"""Before connections are taken again when the process had no descriptor left for one."""
BACKLOG: Final = 64

Take = Callable[[], Awaitable[Snapshot]]


class Response(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    kind: str = "text/plain; charset=utf-8"
    body: bytes = b""
    encoding: str = ""

    def serialised(self) -> bytes:
        """As it goes over the wire."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {len(self.body)}",
            *([f"Content-Encoding: {self.encoding}"] if self.encoding else []),
            "Connection: close",
        ]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


class Scrapes:
    """A listening socket and the connections it has taken. Belongs to the running event loop."""

    def __init__(self, listener: socket.socket, take: Take, tls: Context | None) -> None:
        self.ended: Counter[str] = Counter()
        """Connections by how they ended: `answered`, `refused` (by TLS), `expired`, `crowded`, `broken`."""
        self._listener = listener
        self._take = take
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._open: dict[asyncio.Task[None], bool] = {}
        """In order of arrival; true: its request is there, it waits for the answer."""
        self._taking: asyncio.Task[Snapshot] | None = None
        self._loop.add_reader(listener, self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    async def close(self) -> None:
        """Takes no more, and ends those that are open."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        tasks = [*self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(PAUSE_S, self._resume)
            return
        connection.setblocking(False)
        if len(self._open) >= MAX_CONNECTIONS:
            self._make_room()
        task = self._loop.create_task(self._serve(connection))
        self._open[task] = False
        task.add_done_callback(lambda task: self._done(task, connection))

    def _done(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        self._open.pop(task, None)
        # A task that was cancelled before its first step has not touched it.
        connection.close()

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _make_room(self) -> None:
        """The oldest of those that have not asked gives way, else the oldest."""
        waiting = (task for task, asked in self._open.items() if not asked)
        task = next(waiting, None) or next(iter(self._open))
        del self._open[task]
        self.ended["crowded"] += 1
        task.cancel()

    async def _serve(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                self.ended[await self._converse(connection)] += 1
        except TimeoutError:
            self.ended["expired"] += 1

    async def _converse(self, connection: socket.socket) -> str:
        """One request and its answer; how it ended."""
        try:
            reader, writer = await self._streams(connection)
        except OSError:  # of TLS, too
            return "refused"
        try:
            response = await self._answer(reader)
            if response is None:
                return "broken"
            writer.write(response.serialised())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            return "broken"
        finally:
            writer.transport.abort()
        return "answered"

    async def _streams(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(MAX_REQUEST)
        transport, protocol = await self._loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            connection,
            ssl=self._tls.current() if self._tls else None,
            ssl_shutdown_timeout=1.0 if self._tls else None,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def _answer(self, reader: asyncio.StreamReader) -> Response | None:
        """None where the client went away."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            return Response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        line, _, rest = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return Response(HTTPStatus.BAD_REQUEST)
        if words[0] != b"GET":
            return Response(HTTPStatus.METHOD_NOT_ALLOWED)
        if words[1].partition(b"?")[0] not in {b"/metrics", b"/"}:
            return Response(HTTPStatus.NOT_FOUND)
        self._has_asked()
        headers = BytesParser().parsebytes(rest, headersonly=True)
        return await asyncio.to_thread(rendered, await self._snapshot(), headers)

    def _has_asked(self) -> None:
        task = asyncio.current_task()
        if task in self._open:
            self._open[task] = True

    async def _snapshot(self) -> Snapshot:
        """Who asks while one is being taken shares it: many scrapers cost the arc no more than one."""
        if self._taking is None:
            self._taking = self._loop.create_task(self._taken())
        return await asyncio.shield(self._taking)

    async def _taken(self) -> Snapshot:
        try:
            return await self._take()
        finally:
            self._taking = None


def rendered(snapshot: Snapshot, headers: Message) -> Response:
    """In the format the client likes best."""
    encode, kind = choose_encoder(", ".join(headers.get_all("Accept", ())))
    body = encode(Metrics(snapshot))
    if "gzip" in headers.get("Accept-Encoding", ""):
        return Response(HTTPStatus.OK, kind, gzip.compress(body, 1), "gzip")
    return Response(HTTPStatus.OK, kind, body)


@asynccontextmanager
async def serve_metrics(
    host: str, port: int, take: Take, tls: Context | None = None
) -> AsyncIterator[Scrapes]:
    """Serves what `take` gives while the block lasts. Raises OSError where the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    scrapes = Scrapes(listener, take, tls)
    try:
        yield scrapes
    finally:
        await scrapes.close()
