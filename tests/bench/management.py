"""Management calls over the UNIX socket and over mutual TLS, beside grpc.aio servers without a front door.

The call is one that is answered from memory, with an empty list: what is measured is the way in. The peer is
a stock server in a process of its own, with the same certificates and limits; the plane is the real one.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from controlplane.plane.api.aio_server import LIMITS
from controlplane.wire import management_pb2 as pb
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import python, running, watchdog
from tests.plane.world import PREFIX, World, serving
from tests.unit.plane.loop import LoopThread

CALLS: Final = 2_000
"""One after the other, in each round."""
ROUNDS: Final = 5
AT_ONCE: Final = 16
METHOD: Final = f"{PREFIX}/ListReflexes"
REQUEST: Final = pb.ListReflexesRequest().SerializeToString()
AIM: Final = 1.3
RATE_AIM: Final = 0.5
"""Ratios to the peer, of latency and of calls a second."""


def main(options: Options) -> int:
    """Rounds in turns, so that what else the machine does falls on everybody alike."""
    calls = options.count or CALLS
    loop = LoopThread()
    found: dict[str, list[float]] = {}
    with watchdog(600), loop.entered(lambda: serving(loop)) as world:
        peer_socket = world.node.root / "peer.sock"
        command = python("tests.bench.management", peer_socket, world.node.root / "tls")
        with running(command, stdout=subprocess.PIPE) as peer:
            assert peer.stdout is not None
            ports = {"tls": f"127.0.0.1:{peer.stdout.readline().strip()}", "unix": f"unix:{peer_socket}"}
            targets = {"ours": ours(world), "peer": ports}
            for _ in range(ROUNDS):
                for way in ("unix", "tls"):
                    for who in ("ours", "peer"):
                        took, rate = asyncio.run(measured(targets[who][way], credentials(world, way), calls))
                        found.setdefault(f"{way}.{who}", []).extend(took)
                        found.setdefault(f"{way}.{who}.rate", []).append(rate)
    loop.close()
    print(f"{ROUNDS} rounds of {calls} calls one by one, and as many {AT_ONCE} at a time")
    conclude("management", dict(figures(found)))
    return 0


def ours(world: World) -> dict[str, str]:
    """Where the plane listens."""
    return {"tls": world.address, "unix": f"unix:{world.node.root / 'plane/management.sock'}"}


def credentials(world: World, way: str) -> grpc.ChannelCredentials:
    """Of a client."""
    if way == "unix":
        return grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    return grpc.ssl_channel_credentials(world.ca(), world.admin.key, world.admin.certificate)


async def measured(target: str, given: grpc.ChannelCredentials, calls: int) -> tuple[list[float], float]:
    """Microseconds of calls one after the other, and calls a second of many at a time."""
    took = []
    async with grpc.aio.secure_channel(target, given) as channel:
        stub: Any = channel.unary_unary(METHOD)
        for _ in range(calls // 10):
            await stub(REQUEST)
        for _ in range(calls):
            began = time.perf_counter()
            await stub(REQUEST)
            took.append((time.perf_counter() - began) * 1e6)
        began = time.perf_counter()
        await asyncio.gather(*(some(stub, calls // AT_ONCE) for _ in range(AT_ONCE)))
        rate = calls // AT_ONCE * AT_ONCE / (time.perf_counter() - began)
    return took, rate


async def some(stub: Any, calls: int) -> None:  # noqa: ANN401
    """Calls one after the other, beside others."""
    for _ in range(calls):
        await stub(REQUEST)


def figures(found: dict[str, list[float]]) -> Sequence[tuple[str, Figure]]:
    """Medians and tails over all rounds."""
    rows = []
    for way in ("unix", "tls"):
        mine, theirs = (sorted(found[f"{way}.{who}"]) for who in ("ours", "peer"))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            value, peer = percentile(mine, share), percentile(theirs, share)
            rows.append(
                (f"{way}.{name}", Figure(round(value), "us", round(peer), round(value / peer, 2), AIM))
            )
        value, peer = (percentile(sorted(found[f"{way}.{who}.rate"]), 0.5) for who in ("ours", "peer"))
        figure = Figure(round(value), "calls/s", round(peer), round(value / peer, 2), RATE_AIM)
        rows.append((f"{way}.rate", figure))
    return rows


async def serve_bare(socket: str, folder: Path) -> None:
    """A server of grpc.aio as its manual has it; prints its port."""

    async def list_reflexes(_request: pb.ListReflexesRequest, _context: object) -> pb.ListReflexesResponse:
        return pb.ListReflexesResponse()

    parse, write = pb.ListReflexesRequest.FromString, pb.ListReflexesResponse.SerializeToString
    server = grpc.aio.server(options=LIMITS)
    handler: Any = grpc.unary_unary_rpc_method_handler(list_reflexes, parse, write)
    service = METHOD.split("/")[1]
    generic = grpc.method_handlers_generic_handler(service, {"ListReflexes": handler})
    server.add_generic_rpc_handlers((generic,))
    key, cert, ca = ((folder / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt"))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)], ca, True))
    server.add_secure_port(f"unix:{socket}", grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    os.environ["GRPC_VERBOSITY"] = "ERROR"
    asyncio.run(serve_bare(sys.argv[1], Path(sys.argv[2])))
