"""Interfaces of a network namespace of the test's own go down and up, and the arc feels it by rtnetlink."""

import io
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, CountStream, Signal
from controlplane.arc.kernel.links import Links
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.monitor.streams import must_place_number
from controlplane.cli.record import Recorder
from controlplane.link.frames import SensorStatus
from controlplane.link.records import Finding
from controlplane.link.rules import NS, Rate, Rule, Step
from controlplane.link.signals import BY_NAME
from controlplane.policy.compile import DEFAULTS, rules_of
from controlplane.policy.load import read_bytes
from tests.kernel.conftest import Turned
from tests.namespaces import own_namespace
from tests.patience import patient

Turn = Callable[..., Turned]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(autouse=True)
def _own_network() -> Iterator[None]:
    """A namespace with `east` and `west`, the ends of one cable, both up."""
    with own_namespace():
        ip("link", "add", "east", "up", "type", "veth", "peer", "name", "west")
        ip("link", "set", "west", "up")
        yield


def rule(signal: str, **changes: object) -> Rule:
    """Fires at the second time within a minute."""
    plain = Rule(
        name=f"test-{signal.rpartition('_')[2]}",
        signal=signal,
        test=Rate(interval_ns=60 * NS, burst=1),
        ladder=(Step(act="observe"),),
        cooldown_ns=0,
    )
    return msgspec.structs.replace(plain, **changes)


DOWN, FLAP = rule("net.link_down"), rule("net.link_flap")


def sensor(running: Turned) -> SensorStatus:
    return next(each for each in running.arc.status().sensors if each.name == "link")


def total(running: Turned, signal: Signal, interface: int) -> int | None:
    """As the kernel's map has it; None: no such stream."""
    counts = running.arc._sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
    found = counts.lookup(STREAM_KEY.pack(interface, signal, 0))
    return None if found is None else CountStream._make(COUNT_STREAM.unpack(found)).total


def links(running: Turned) -> Links:
    (found,) = [source for source in running.arc._sources if isinstance(source, Links)]
    return found


def await_links(running: Turned, *, up: bool) -> None:
    """Until both ends are known to be so. Of a carrier the kernel may tell a second late."""
    ends = (socket.if_nametoindex("east"), socket.if_nametoindex("west"))
    running.turn_until(lambda: all(links(running)._up.get(end) is up for end in ends))


def listening(turn: Turn, *rules: Rule) -> Turned:
    """An arc that knows both ends to be up."""
    running = turn(*rules)
    await_links(running, up=True)
    return running


def sockets() -> list[str]:
    """Netlink sockets of this process that listen to links."""
    table = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    return [line for line in table if line.split()[1:4] == ["0", line.split()[2], "00000001"]]


def test_an_interface_that_goes_down_twice_is_a_finding(turn: Turn) -> None:
    running = listening(turn, DOWN)
    for state in ("down", "up", "down"):
        ip("link", "set", "east", state)
        await_links(running, up=state == "up")
    findings = running.of(Finding)
    assert {finding.stream for finding in findings} == {"east", "west"}
    assert {(finding.signal, finding.value, finding.count, finding.pid) for finding in findings} == {
        ("net.link_down", 1, 1, 0)
    }


def test_an_interface_that_goes_down_once_is_told_by_default(turn: Turn) -> None:
    (once,) = rules_of(read_bytes(DEFAULTS / "link-down.yaml"), "link-down.yaml", "default")
    running = listening(turn, once)
    assert not running.of(Finding)
    ip("link", "set", "east", "down")
    await_links(running, up=False)
    assert {(finding.rule, finding.stream) for finding in running.of(Finding)} == {
        ("link-down", "east"),
        ("link-down", "west"),
    }


def test_ups_and_downs_are_counted_by_interface(turn: Turn) -> None:
    running = listening(turn, DOWN, FLAP)
    east, west = socket.if_nametoindex("east"), socket.if_nametoindex("west")
    ip("link", "set", "east", "down")
    await_links(running, up=False)
    for interface in (east, west):
        assert total(running, Signal.NET_LINK_DOWN, interface) == 1
        assert total(running, Signal.NET_LINK_FLAP, interface) == 1
    ip("link", "set", "east", "up")
    await_links(running, up=True)
    for interface in (east, west):
        assert total(running, Signal.NET_LINK_DOWN, interface) == 1
        assert total(running, Signal.NET_LINK_FLAP, interface) == 2
    assert {(stream.signal, stream.path, stream.count) for stream in running.streams()} >= {
        (signal, interface, count)
        for signal, count in (("net.link_down", 1), ("net.link_flap", 2))
        for interface in ("east", "west")
    }


def test_what_changes_besides_is_no_flap(turn: Turn) -> None:
    running = listening(turn, DOWN, FLAP)
    ip("link", "set", "east", "mtu", "1400")
    ip("link", "add", "span", "up", "type", "bridge")
    ip("link", "set", "east", "master", "span")
    ip("link", "set", "east", "nomaster")
    ip("link", "set", "west", "down")
    await_links(running, up=False)
    east, west = socket.if_nametoindex("east"), socket.if_nametoindex("west")
    assert total(running, Signal.NET_LINK_FLAP, east) == 1
    assert total(running, Signal.NET_LINK_FLAP, west) == 1


def test_an_interface_that_is_gone_leaves_nothing_behind(turn: Turn) -> None:
    running = listening(turn, DOWN, FLAP)
    east = socket.if_nametoindex("east")
    ip("link", "set", "east", "down")
    await_links(running, up=False)
    place = must_place_number(Signal.NET_LINK_DOWN, east)
    assert running.arc._monitor.places[place].path == "east"
    ip("link", "delete", "east")
    running.turn_until(lambda: place not in running.arc._monitor.places)
    assert total(running, Signal.NET_LINK_DOWN, east) is None
    assert total(running, Signal.NET_LINK_FLAP, east) is None


def test_it_listens_only_while_a_rule_needs_it(turn: Turn) -> None:
    running = turn(rule("process.fork"), rule("net.link_down", mode="off"))
    assert (sensor(running).attached, sensor(running).hooks) == (True, ())
    assert not sockets()
    running.arc._book.apply(DOWN)
    running.arc._rules_changed("test", "one more rule", "")
    assert sensor(running).hooks == ("rtnetlink",)
    assert len(sockets()) == 1
    running.arc._book.delete(DOWN.name)
    running.arc._rules_changed("test", "one rule less", "")
    assert not sockets()


def test_what_the_socket_could_not_hold_is_counted_and_looked_up(turn: Turn) -> None:
    running = listening(turn, DOWN, FLAP)
    east = socket.if_nametoindex("east")
    with subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as batch:
        batch.communicate("link set east down\nlink set east up\n" * 400 + "link set east down\n")
    running.turn_until(lambda: sensor(running).lost["overrun"] > 0)
    running.turn_until(lambda: links(running)._up[east] is False)


def test_what_the_kernel_announces_can_be_recorded() -> None:
    sensors, out = Sensors(), io.StringIO()
    try:
        recorder = Recorder(sensors, BY_NAME["net.link_down"], out)
        recorder.open_gate()
        source = recorder._source
        assert isinstance(source, Links)
        while not source._up.get(socket.if_nametoindex("east")):
            recorder.loop.must_turn(patient(10))
        ip("link", "set", "east", "down")
        while recorder.taken < 2:
            recorder.loop.must_turn(patient(10))
        recorder.close_gate()
    finally:
        sensors.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {(line["signal"], line["key"], line["value"]) for line in lines} == {
        ("net.link_down", "east", 1),
        ("net.link_down", "west", 1),
    }
