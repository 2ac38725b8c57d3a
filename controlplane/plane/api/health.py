"""grpc.health.v1 over the latest value of each component: Check, List, and a Watch that pushes on change.

No lock is held while writing to a client, so a watcher that does not read misses values and holds up nobody.
What health is, others decide.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2 as pb

MAX_WATCHERS: Final = 2_000

Context = grpc.aio.ServicerContext[Any, Any]


class Health:
    """The servicer, and where components put how they fare. Belongs to one event loop.

    The empty name is the daemon as a whole, which serves while its arc does: a collector that is away or a
    sensor that cannot attach is no reason to restart it.
    """

    def __init__(self, look: Callable[[], Awaitable[None]] | None = None) -> None:
        """`look` finds out how the arc fares when somebody asks for it; it may call `update`."""
        self._look = look
        self._serving: dict[str, bool] = {"": False}
        self._changed = asyncio.Event()
        self._ended = False
        self.watchers = 0
        """Clients watching now."""

    def update(self, components: Mapping[str, bool]) -> None:
        """Takes news of some components; the others stay as they are."""
        self._serving |= components
        self._serving[""] = self._serving.get("arc", False)
        self._wake()

    def end(self) -> None:
        """Lets every watcher of now go, so that a server can stop without cutting anybody off."""
        self._ended = True
        self._wake()

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """One component now; NOT_FOUND where it is unknown."""
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown component")
        if self._look and request.service in {"", "arc"}:
            await self._look()
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def List(self, request: pb.HealthListRequest, context: Context) -> pb.HealthListResponse:
        """Every component now."""
        if self._look:
            await self._look()
        statuses = {name: pb.HealthCheckResponse(status=self._status(name)) for name in self._serving}
        return pb.HealthListResponse(statuses=statuses)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncGenerator[pb.HealthCheckResponse, None]:
        """One component now and whenever it changes; SERVICE_UNKNOWN as long as it is unknown."""
        if self.watchers >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watchers")
        self.watchers += 1
        try:
            told = None
            while not self._ended:
                changed, status = self._changed, self._status(request.service)
                if status != told:
                    told = status
                    yield pb.HealthCheckResponse(status=status)
                else:
                    await changed.wait()
        finally:
            self.watchers -= 1

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self, name: str) -> pb.HealthCheckResponse.ServingStatus:
        match self._serving.get(name):
            case None:
                return pb.HealthCheckResponse.SERVICE_UNKNOWN
            case True:
                return pb.HealthCheckResponse.SERVING
            case _:
                return pb.HealthCheckResponse.NOT_SERVING
