"""A collector that keeps what the benchmarks compare: `python -m tests.bench.sink PORT FILE`.

Appends `log.record.uid` of every record it acknowledges to FILE, a line each.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc


class Sink(logs_service_pb2_grpc.LogsServiceServicer):  # type: ignore[misc,unused-ignore]
    """OTLP logs over gRPC."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Written before it is acknowledged."""
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self._file.write(f"{uid(record)}\n")
        self._file.flush()
        return logs_service_pb2.ExportLogsServiceResponse()


def uid(record: Any) -> str:
    """`log.record.uid`, empty when there is none."""
    for attribute in record.attributes:
        if attribute.key == "log.record.uid":
            return str(attribute.value.string_value)
    return ""


def serve(port: int, path: Path) -> None:
    """Until killed."""
    with path.open("a", encoding="ascii") as file, ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Sink(file), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        print("ready", flush=True)
        server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
