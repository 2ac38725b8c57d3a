"""The plane under abuse, and what it is like afterwards: the short form of the benchmark `abuse`."""

import gzip
import signal
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.client import Client, Target
from controlplane.link.frames import Changed
from controlplane.plane.api.allowance import AT_ONCE, BURST
from tests.patience import patient
from tests.plane.attacks import ATTACKS, Address, attacking
from tests.plane.world import LOOKS, UNDO, World, says, serving
from tests.unit.plane.api import raw_http2
from tests.unit.plane.loop import LoopThread

AMOUNTS = {"garbage": 150, "tiny windows": 3, "slowloris": 60, "rapid resets": 2}
HALF_OPEN = 1_500
CAP = 500
"""Connections of one listener."""
GROWTH = 96 << 20
"""Bytes the plane may have more than before, whatever was done to it."""
OTHERS = 40
"""Descriptors that come and go by themselves."""
LOOK_S = 0.05
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module", autouse=True)
def alive(world: World) -> None:
    world.loop.call(world.running.responder.send, Changed({"arc": (True, "")}))
    world.loop.run(world.running.serving("arc", serving=True))


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with Client(Target(socket=str(admins(world)))) as client:
        yield client


def admins(world: World) -> Path:
    return world.node.root / "plane" / "management.sock"


def places(world: World) -> dict[str, tuple[Address, str]]:
    """Where to attack, and by calling what."""
    health, management = (world.running.ports[name] for name in ("health", "management"))
    return {
        "health": (("127.0.0.1", health), "/grpc.health.v1.Health/Check"),
        "socket": (str(admins(world)), LOOKS["unary"][0]),
        "TLS": (("127.0.0.1", management), LOOKS["unary"][0]),
    }


def healthy(world: World) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{world.running.ports['health']}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            return bool(stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == SERVING)
        except grpc.RpcError:
            return False


def looking(client: Client, times: int = 50) -> float:
    """Seconds of a call, at the median."""
    took = []
    for _ in range(times):
        began = perf_counter()
        client.status()
        took.append(perf_counter() - began)
    return median(took)


def descriptors(world: World) -> int:
    return len(list(Path(f"/proc/{world.running.process.pid}/fd").iterdir()))


def resident(world: World) -> int:
    return int(world.running.status()["VmRSS"].split()[0]) * 1024


@pytest.mark.parametrize("where", ["health", "socket", "TLS"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "endless headers"])
def test_who_is_served_still_is(world: World, client: Client, name: str, where: str) -> None:
    before, files = resident(world), descriptors(world)
    place, method = places(world)[where]
    looking(client, 5)
    with attacking(name, place, method, AMOUNTS.get(name, HALF_OPEN)):
        if where != "socket":
            assert looking(client, 20) < patient(10 * LOOK_S)
        assert descriptors(world) < files + CAP + OTHERS
    while not healthy(world):
        pass  # until calls that were under way are cleared away
    assert looking(client) < patient(LOOK_S)
    while descriptors(world) > files + OTHERS:
        client.status()
    assert resident(world) < before + GROWTH


def status_of(client: Client, path: str, body: bytes, *, compressed: bool = False) -> str:
    compression = grpc.Compression.Gzip if compressed else None
    call = client._channel.unary_unary(path, bytes, bytes)
    try:
        call(body, timeout=10, compression=compression)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_a_request_that_is_too_large(client: Client) -> None:
    assert status_of(client, LOOKS["unary"][0], bytes(65_537)) == "RESOURCE_EXHAUSTED"


def test_a_request_that_only_unpacked_is_too_large(client: Client) -> None:
    bomb = bytes(40 << 20)
    assert len(gzip.compress(bomb, 6)) < 65_536
    assert status_of(client, LOOKS["unary"][0], bomb, compressed=True) == "RESOURCE_EXHAUSTED"


def test_metadata_that_are_too_large(client: Client) -> None:
    call = client._channel.unary_unary(LOOKS["unary"][0], bytes, bytes)
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", metadata=(("x-much", "x" * 20_000),), timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_pings_on_and_on_end_the_connection(world: World) -> None:
    with raw_http2.connect(str(admins(world))) as connection:
        with suppress(BrokenPipeError):
            for number in range(10):
                connection.sendall(raw_http2.frame(raw_http2.PING, 0, 0, struct.pack(">Q", number)))
        told = [each for each in raw_http2.received(connection) if each.kind == raw_http2.GOAWAY]
    assert b"too_many_pings" in told[-1].payload


def test_settings_that_are_never_acknowledged_end_the_connection(world: World) -> None:
    with raw_http2.connect(str(admins(world)), acknowledging=False) as connection:
        assert [each.kind for each in raw_http2.received(connection)][-1] == raw_http2.GOAWAY


def test_streams_beyond_those_of_a_connection(world: World) -> None:
    with raw_http2.connect(str(admins(world))) as connection:
        for stream in range(1, 401, 2):
            connection.sendall(raw_http2.call(LOOKS["unary"][0].encode(), stream))
        refused = next(each for each in raw_http2.received(connection) if each.kind == raw_http2.RST_STREAM)
    assert refused.stream > 1


def test_calls_beyond_a_callers_share(world: World, client: Client) -> None:
    place, method = places(world)["socket"]
    with attacking("slowloris", place, method, 6):
        assert status_of(client, LOOKS["unary"][0], b"") == "RESOURCE_EXHAUSTED"
        world.loop.run(
            world.running.journalled(lambda call: says(f"you have {AT_ONCE} calls under way", call))
        )
    while status_of(client, LOOKS["unary"][0], b"") != "OK":
        pass


def test_changes_beyond_a_callers_share(client: Client) -> None:
    found = [status_of(client, *UNDO) for _ in range(3 * BURST)]
    assert found[:BURST] == ["OK"] * BURST
    assert "RESOURCE_EXHAUSTED" in found
    assert client.status().pid


def test_headers_without_end_cost_the_plane_and_not_the_node(loop: LoopThread) -> None:
    """GRPC takes what it is sent until its settings are acknowledged; the arc starts the plane again."""
    with loop.entered(lambda: serving(loop)) as world:
        place, method = places(world)["health"]
        with attacking("endless headers", place, method, 4):
            assert loop.run(world.running.ended(25)) == -signal.SIGABRT
