"""net feels the real thing on loopback: sent again, reset, refused, dropped, by the cgroup of the socket."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import pytest

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, Event, EventKind, Gate, Signal
from controlplane.cli.host import btf_names
from controlplane.link.rules import NS
from tests.kernel.conftest import TestCgroup
from tests.kernel.felt import EVERY_ONE, Felt

ROOT: Final = 1
"""Id of the root cgroup, which stands for packets of no socket."""

SERVER: Final = """
import ctypes, socket, struct
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
"""
DEAF: Final = """
nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K: keep 0 bytes
peer.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(nothing)))  # SO_ATTACH_FILTER
peer.send(b"!")
input()
"""
"""Takes nothing more from its peer, and so acknowledges nothing."""
RUDE: Final = """
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
input()
"""
"""Closes by a reset."""
CLIENT: Final = """
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
"""
REFUSED: Final = """
import socket
closed = socket.socket()
closed.bind(("127.0.0.1", 0))
assert socket.socket().connect_ex(closed.getsockname())
input()
"""
"""Connects where nobody listens."""


def python(cgroup: TestCgroup, script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return cgroup.run(sys.executable, "-c", script, *arguments, stdout=subprocess.PIPE)


def connect(server: TestCgroup, client: TestCgroup, listening: str, connected: str) -> None:
    """Have `client` connect to `server`."""
    stdout = python(server, SERVER + listening).stdout
    assert stdout is not None
    python(client, CLIENT + connected, stdout.readline().decode().strip())


def counted(event: Event) -> tuple[int, int, int, int, int]:
    """What a count says besides whom it is about; sockets name no process."""
    return event.value, event.weight, event.culprit, event.pid, event.start_ns


ONE: Final = (1, 1, 0, 0, 0)


def test_what_is_not_acknowledged_is_sent_again(felt: Felt, make_cgroup: Callable[[], TestCgroup]) -> None:
    server, client = make_cgroup(), make_cgroup()
    felt.sensors.set_gate("net.retransmit", EVERY_ONE)
    connect(server, client, DEAF, "peer.recv(1); peer.send(b'?'); input()")
    event = felt.signal("net.retransmit", client)
    assert counted(event) == ONE
    assert event.key == client.id


def test_a_socket_that_outlives_its_cgroup_leaves_no_stream_of_it(
    felt: Felt, make_cgroup: Callable[[], TestCgroup]
) -> None:
    server, client = make_cgroup(), make_cgroup()
    felt.sensors.set_gate("net.retransmit", EVERY_ONE)
    connect(server, client, DEAF, "peer.recv(1); peer.send(b'?')")
    client.started[0].wait(10)
    client.remove()
    removed_ns = time.monotonic_ns()
    # Its last segments are still sent again and again.
    felt.await_event(
        lambda event: (
            event.time_ns > removed_ns and (event.signal, event.key) == (Signal.NET_RETRANSMIT, ROOT)
        )
    )
    counts = felt.sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
    assert counts.lookup(STREAM_KEY.pack(client.id, Signal.NET_RETRANSMIT, 0)) is None


def test_a_dropped_packet_is_told_of_the_cgroup_that_was_to_receive_it(
    felt: Felt, make_cgroup: Callable[[], TestCgroup]
) -> None:
    if not btf_names("skb_drop_reason"):
        pytest.skip("this kernel gives no reasons for dropping a packet")
    server, client = make_cgroup(), make_cgroup()
    receiver = server.id if btf_names("rx_sk") else ROOT
    felt.sensors.set_gate("net.drop", EVERY_ONE)
    connect(server, client, DEAF, "peer.recv(1); peer.send(b'?'); input()")
    event = felt.await_event(
        lambda event: (event.kind, event.signal, event.key) == (EventKind.SIGNAL, Signal.NET_DROP, receiver)
    )
    assert counted(event) == ONE
    assert event.cgroup == receiver


def test_a_reset_is_told_of_whom_it_reached(felt: Felt, make_cgroup: Callable[[], TestCgroup]) -> None:
    server, client = make_cgroup(), make_cgroup()
    felt.sensors.set_gate("net.reset", EVERY_ONE)
    connect(server, client, RUDE, "peer.recv(1)")
    event = felt.signal("net.reset", client)
    assert counted(event) == ONE
    assert not [event for event in felt.events if event.signal and event.cgroup == server.id]


def test_a_connection_that_is_refused_is_a_failure(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("net.connect_failure", EVERY_ONE)
    python(cgroup, REFUSED)
    assert counted(felt.signal("net.connect_failure", cgroup)) == ONE


def test_a_connection_that_is_made_and_ended_is_none(
    felt: Felt, make_cgroup: Callable[[], TestCgroup]
) -> None:
    server, client = make_cgroup(), make_cgroup()
    felt.sensors.set_gate("net.connect_failure", EVERY_ONE)
    felt.sensors.set_gate("process.exit_failure", EVERY_ONE)
    connect(server, client, "peer.recv(1)", "peer.close(); listener = None; sys.exit(1)")
    felt.signal("process.exit_failure", client)
    ours = [event for event in felt.events if event.cgroup in (client.id, server.id)]
    assert not [event for event in ours if event.signal == Signal.NET_CONNECT_FAILURE]


def test_failures_are_told_in_batches(felt: Felt, cgroup: TestCgroup) -> None:
    felt.sensors.set_gate("net.connect_failure", Gate(10 * NS, 0, 8, 1))
    python(cgroup, REFUSED.replace("assert", "for _ in range(16): assert"))
    event = felt.signal("net.connect_failure", cgroup)
    assert (event.value, event.weight) == (8, 8)
    assert event.since_ns < event.time_ns
