"""The peer of `export`: the batch pipeline of the OpenTelemetry SDK with a queue that holds everything.

`python -m tests.bench.export_peer PORT COUNT`; ends with its standard input.
"""

import sys

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from controlplane.plane.telemetry.describe import describe
from controlplane.plane.telemetry.logs import node_resource
from tests.plane.writer import finding


def main(port: int, count: int) -> None:
    """Emits what the plane would make of the same findings."""
    provider = LoggerProvider(Resource(node_resource({})))
    exporter = OTLPLogExporter(endpoint=f"127.0.0.1:{port}", insecure=True)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=count))
    logger = provider.get_logger("peer")
    event = describe(finding(), 0)
    for number in range(count):
        logger.emit(
            timestamp=number,
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body=event.body,
            event_name=event.name,
            attributes={"log.record.uid": str(number), **event.attributes},
        )
    provider.force_flush()
    sys.stdin.read()
    provider.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
