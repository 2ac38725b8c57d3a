"""The stock way to tell of streams: `python -m tests.bench.exporter PORT STREAMS`, a series for each."""

import sys
import threading

from prometheus_client import CollectorRegistry, Counter, start_http_server


def serve(port: int, streams: int) -> None:
    """Until killed."""
    registry = CollectorRegistry()
    events = Counter("peer_stream_events", "Events of a stream", ["signal", "cgroup"], registry=registry)
    for number in range(streams):
        events.labels("process.exec", f"/kubepods.slice/kubepods-burstable.slice/pod{number}").inc(number)
    start_http_server(port, "127.0.0.1", registry)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
