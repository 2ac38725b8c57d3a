"""Acts by hand over the API: what a request becomes, who may ask, whose trace it is."""

from pathlib import Path

import pytest

from controlplane.client import Client, InvalidError, RefusedError
from controlplane.link import frames
from controlplane.link.amounts import Amount
from controlplane.link.reach import Network
from controlplane.link.rules import NS, Step
from controlplane.plane.api.by_hand import Parent, in_other_words, parent_in
from controlplane.wire import management_pb2 as pb
from controlplane.wire.methods import Role
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import Served, served

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def asked(plane: Served) -> frames.Trigger:
    command = plane.responder.commands[-1]
    assert isinstance(command, frames.Trigger)
    return command


def test_a_cgroup(client: Client, plane: Served) -> None:
    request = pb.TriggerRequest(act="freeze", cgroup="/storm", for_ns=30 * NS)
    answer = client.trigger(request, f"00-{TRACE}-{SPAN}-00")
    assert (answer.trace_id, answer.victim.path, list(answer.writes)) == (
        *(TRACE, "/storm", ["cgroup.freeze 0 -> 1"]),
    )
    command = asked(plane)
    assert (command.step, command.path, command.pid) == (Step("freeze", for_ns=30 * NS), "/storm", 0)
    assert command.trace_flags == 0
    assert (command.trace_id.hex(), command.parent_id.hex(), command.actor) == (TRACE, SPAN, "unix:admin")


def test_settings_are_those_of_a_policy(client: Client, plane: Served) -> None:
    settings = {"nice": "10", "ionice": "idle", "oom_score_adj": "500"}
    client.trigger(pb.TriggerRequest(act="reweigh", pid=42, for_ns=NS, settings=settings, start_ns=7))
    command = asked(plane)
    assert {amount.key for amount in command.step.amounts} == {"nice", "ionice", "oom_score_adj"}
    assert (command.pid, command.start_ns, command.trace_id) == (42, 7, b"")
    client.trigger(pb.TriggerRequest(act="reclaim", cgroup="/a", settings={"amount": "20%"}))
    assert asked(plane).step == Step("reclaim", amounts=(Amount("amount", 2000, "share"),))
    client.trigger(pb.TriggerRequest(act="kill", cgroup="/a", settings={"grace": "2s"}))
    assert asked(plane).step == Step("kill", grace_ns=2 * NS)


def test_networks_are_parted_by_commas(client: Client, plane: Served) -> None:
    settings = {"allow": "10.0.0.0/8,fd00::/8"}
    client.trigger(pb.TriggerRequest(act="quarantine", cgroup="/a", for_ns=NS, settings=settings))
    networks = (Network(bytes([10, 0, 0, 0]), 8), Network(b"\xfd" + bytes(15), 8))
    assert asked(plane).step == Step("quarantine", for_ns=NS, allow=networks)


def test_dry(client: Client, plane: Served) -> None:
    request = pb.TriggerRequest(act="freeze", cgroup="/protected", for_ns=NS, dry_run=True)
    answer = client.trigger(request)
    assert (answer.guard, answer.trace_id, asked(plane).dry_run) == ("protected", "", True)


def test_a_guard_that_refuses(client: Client) -> None:
    with pytest.raises(RefusedError, match="forbidden by the guard protected"):
        client.trigger(pb.TriggerRequest(act="freeze", cgroup="/protected", for_ns=NS))


def test_an_operator_may_do_what_can_be_undone(loop: LoopThread, tmp_path: Path) -> None:
    with served(loop, tmp_path, Role.OPERATOR) as plane, Client(plane.target) as client:
        assert client.trigger(pb.TriggerRequest(act="freeze", cgroup="/storm", for_ns=NS)).trace_id
        assert not client.trigger(pb.TriggerRequest(act="kill", cgroup="/storm", dry_run=True)).trace_id
        with pytest.raises(RefusedError, match="kill cannot be undone: it needs the role admin"):
            client.trigger(pb.TriggerRequest(act="kill", cgroup="/storm"))
        asked = [one.step.act for one in plane.responder.commands if isinstance(one, frames.Trigger)]
        assert asked == ["freeze", "kill"]


def test_a_viewer_may_not_even_ask(loop: LoopThread, tmp_path: Path) -> None:
    with served(loop, tmp_path, Role.VIEWER) as plane, Client(plane.target) as client:
        with pytest.raises(RefusedError, match="operator"):
            client.trigger(pb.TriggerRequest(act="freeze", cgroup="/storm", for_ns=NS, dry_run=True))
        assert plane.responder.commands == []


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (pb.TriggerRequest(act="freeze", for_ns=1), "target", "say whom"),
        (pb.TriggerRequest(act="melt", pid=1), "act", "melt"),
        (
            pb.TriggerRequest(act="limit-cpu", pid=1, settings={"max": "64MiB"}),
            "settings",
            "max: '64MiB' is not",
        ),
        (pb.TriggerRequest(act="limit-cpu", pid=1, settings={"mux": "1"}), "settings", "mux"),
        (pb.TriggerRequest(act="kill", pid=1, settings={"grace": "much"}), "settings", "much"),
        (
            pb.TriggerRequest(act="hook", pid=1, settings={"run": "/bin/sh"}),
            "settings",
            "`run` is no setting",
        ),
        (pb.TriggerRequest(act="kill", pid=1, settings={"as": "root"}), "settings", "`as` is no setting"),
    ],
)
def test_what_makes_no_sense(
    client: Client, plane: Served, request_: pb.TriggerRequest, field: str, words: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        client.trigger(request_)
    assert words in caught.value.fields[field]
    assert not [one for one in plane.responder.commands if isinstance(one, frames.Trigger)]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_a_malformed_trace_is_none(header: str) -> None:
    assert parent_in([("traceparent", header)]) == Parent()


def test_a_trace_of_a_later_version_is_read() -> None:
    found = parent_in([("other", "x"), ("traceparent", f"cc-{TRACE}-{SPAN}-00-what-comes")])
    assert found == Parent(bytes.fromhex(TRACE), bytes.fromhex(SPAN), 0)


@pytest.mark.parametrize(
    ("step", "pid", "words"),
    [
        (Step("kill"), 0, "cgroup.kill 1"),
        (Step("kill"), 7, "SIGKILL to process 7"),
        (Step("kill", grace_ns=2 * NS), 7, "SIGTERM to each process, and after 2 s SIGKILL to process 7"),
        (Step("reclaim", amounts=(Amount("amount", 1 << 28),)), 0, "memory.reclaim amount 256MiB"),
        (Step("evidence"), 0, "a file of the state directory"),
        (Step("shape", for_ns=1), 0, "shape"),
    ],
)
def test_acts_that_set_no_value(step: Step, pid: int, words: str) -> None:
    assert in_other_words(step, pid) == words


@pytest.mark.parametrize(("header", "flags"), [("00", 0), ("01", 1), ("03", 3), ("ff", 255)])
def test_flags_of_a_trace_are_those_of_the_caller(header: str, flags: int) -> None:
    assert parent_in([("traceparent", f"00-{TRACE}-{SPAN}-{header}")]).flags == flags
