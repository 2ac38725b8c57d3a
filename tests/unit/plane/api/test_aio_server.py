"""The start-up check of the workaround in aio_server."""

import pytest

from controlplane.plane.api import aio_server
from controlplane.plane.api.aio_server import LIMITS, AioServer, UnsupportedGrpcError
from tests.unit.plane.loop import LoopThread


def test_a_grpcio_that_goes_another_way_is_refused(loop: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aio_server._Server, "_make_request_call_future")

    async def main() -> None:
        await AioServer([], LIMITS).start()

    with pytest.raises(UnsupportedGrpcError, match="unregistered"):
        loop.run(main())
