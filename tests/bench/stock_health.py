"""grpcio's own health servicer: `python -m tests.bench.stock_health PORT`; each line on stdin is a change.

`1` or `0`: whether `arc` serves from now on.
"""

import asyncio
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer


async def serve(port: int) -> None:
    """Until stdin ends."""
    servicer = HealthServicer()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await servicer.set("arc", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        serving = line == b"1\n"
        status = health_pb2.HealthCheckResponse
        await servicer.set("arc", status.SERVING if serving else status.NOT_SERVING)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
