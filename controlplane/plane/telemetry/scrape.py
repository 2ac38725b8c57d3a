"""HTTP for Prometheus: the event loop accepts, each request runs in a thread that ends with it.

Nothing wakes up between scrapes. What is served is `metrics`'.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import make_wsgi_app

from controlplane.plane.telemetry.metrics import Metrics

MAX_CONNECTIONS: Final = 16
IDLE_S: Final = 5.0
"""Longest silence in the middle of a request."""


class _Handler(WSGIRequestHandler):
    timeout = IDLE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 -- the name is http.server's
        """A scrape every few seconds is not worth a line."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    timeout = 0
    request_queue_size = 64

    def __init__(self, address: tuple[str, int]) -> None:
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the reverse look-up of http.server, which may wait for a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002
        """Takes every connection; the oldest gives way when there are too many."""
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                self._open.pop(0).shutdown(socket.SHUT_RDWR)
            self._open.append(request)
        return True

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """At the end of a request, in its thread."""
        with self._lock:
            if request in self._open:
                self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that goes away or says nothing is its own affair."""


@asynccontextmanager
async def serve_metrics(host: str, port: int, metrics: Metrics) -> AsyncIterator[int]:
    """Serves metrics while the block lasts; gives the port. Raises OSError where it cannot be had."""
    registry = CollectorRegistry()
    registry.register(metrics)
    server = _Server((host, port))
    server.set_app(make_wsgi_app(registry))
    loop = asyncio.get_running_loop()
    loop.add_reader(server.fileno(), server.handle_request)
    try:
        yield server.server_port
    finally:
        loop.remove_reader(server.fileno())
        server.socket.close()
