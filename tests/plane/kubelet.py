"""The gRPC probe of Kubernetes, call by call (kubernetes/pkg/probe/grpc/grpc.go)."""

import time
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S: Final = 1.0
"""`timeoutSeconds` where a manifest says nothing; for connecting and asking together."""
OPTIONS: Final = (("grpc.primary_user_agent", "kube-probe/1.34"), ("grpc.use_local_subchannel_pool", 1))


def probe(port: int, service: str = "", timeout_s: float = TIMEOUT_S, *, host: str = "127.0.0.1") -> str:
    """`success`, or why the probe fails: a connection of its own in plain text, one Check, no metadata."""
    end = time.monotonic() + timeout_s
    with grpc.insecure_channel(f"{host}:{port}", OPTIONS) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout_s)
        except grpc.FutureTimeoutError:
            return "timeout: failed to connect"
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=end - time.monotonic())
        except grpc.RpcError as error:
            return f"error: health rpc probe failed: {error.code().name}"
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        return f"service unhealthy: {health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)}"
    return "success"
