"""A collector that keeps what the benchmarks compare: `python -m tests.bench.sink PORT FILE`.

Appends `log.record.uid` of every record it acknowledges to FILE, a line each.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord


class Sink(LogsServiceServicer):
    """OTLP logs over gRPC."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def Export(  # noqa: N802 -- as gRPC has it
        self,
        request: ExportLogsServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> ExportLogsServiceResponse:
        """Written before it is acknowledged."""
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self._file.write(f"{uid(record)}\n")
        self._file.flush()
        return ExportLogsServiceResponse()


def uid(record: LogRecord) -> str:
    """`log.record.uid`, empty when there is none."""
    for attribute in record.attributes:
        if attribute.key == "log.record.uid":
            return str(attribute.value.string_value)
    return ""


def serve(port: int, path: Path) -> None:
    """Until killed."""
    with path.open("a", encoding="ascii") as file, ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_LogsServiceServicer_to_server(Sink(file), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        print("ready", flush=True)
        server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
