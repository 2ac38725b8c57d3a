"""Every RPC, over a real socket, against a link that speaks real frames."""

import itertools
import re
from typing import Any

import msgspec
import pytest

from controlplane.client import Client, ClientError, ConnectError, InvalidError, NotFoundError, RefusedError
from controlplane.link import frames, records, rules
from controlplane.plane import arc as arc_module
from controlplane.plane.story import MAX_WAITING, MAX_WATCHERS
from controlplane.wire import management_pb2 as pb
from tests.unit.plane import told
from tests.unit.plane.responder import STATUS
from tests.unit.plane.served import Served

POLICY = b"""\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: fork-storm}
spec:
  signal: process.fork
  scope: {cgroups: ["/storm/**"]}
  test: {kind: threshold, above: 500/s}
  ladder:
    - {act: freeze, for: 10s}
  mode: enforce
"""


def a_stream(number: int) -> frames.Stream:
    return frames.Stream(signal="process.fork", unit="1", cgroup=number, path=f"/c{number}", count=number)


def a_rule(name: str) -> rules.Rule:
    return rules.Rule(name=name, signal="process.fork", test=rules.Rate(2_000_000, 64))


def test_get_status(client: Client, plane: Served) -> None:
    plane.story.watchers_dropped["slow"] = 3
    status = client.status()
    assert (status.version, status.pid, status.mode) == ("0.1", 42, pb.MODE_OBSERVE)
    assert status.armed_time.ToNanoseconds() - status.start_time.ToNanoseconds() == 1_000
    assert dict(status.events) == {"process.fork": 7}
    assert list(status.latency.counts) == [1, 0, 0]
    assert status.in_force[0].trace_id == told.TRACE.hex()
    assert dict(status.watchers_dropped) == {"slow": 3}


def test_get_status_before_it_is_armed(client: Client, plane: Served) -> None:
    plane.responder.status = msgspec.structs.replace(STATUS, armed_ns=0, latency=None)
    status = client.status()
    assert not status.HasField("armed_time")
    assert not status.HasField("latency")


def test_list_sensors(client: Client) -> None:
    process, cpu = client.sensors()
    assert (process.name, process.attached, dict(process.lost)) == ("process", True, {"ring": 2})
    assert (cpu.attached, cpu.reason) == (False, "no BTF")


def test_list_sensors_in_pages_of_one(client: Client) -> None:
    first = client._call("ListSensors", pb.ListSensorsRequest(page_size=1), pb.ListSensorsResponse)
    request = pb.ListSensorsRequest(page_size=1, page_token=first.next_page_token)
    second = client._call("ListSensors", request, pb.ListSensorsResponse)
    assert [page.sensors[0].name for page in (first, second)] == ["process", "cpu"]
    assert second.next_page_token == ""


def test_list_streams_follows_the_pages_of_the_arc(client: Client, plane: Served) -> None:
    plane.responder.streams = [a_stream(number) for number in range(2 * frames.PAGE + 5)]
    assert [stream.of.cgroup for stream in client.streams()] == list(range(2 * frames.PAGE + 5))


def test_pages_smaller_than_those_of_the_arc(client: Client, plane: Served) -> None:
    plane.responder.streams = [a_stream(number) for number in range(frames.PAGE + 5)]
    seen, token = [], ""
    for _ in range(4):
        request = pb.ListStreamsRequest(page_size=30, page_token=token)
        page = client._call("ListStreams", request, pb.ListStreamsResponse)
        seen += [stream.of.cgroup for stream in page.streams]
        token = page.next_page_token
    assert (seen, token) == (list(range(frames.PAGE + 5)), "")


def test_list_policies(client: Client, plane: Served) -> None:
    plane.responder.rules = {"a": a_rule("a"), "b": a_rule("b")}
    first, second = client.policies()
    assert (first.policy.name, second.policy.name) == ("a", "b")
    assert first.policy.rate.interval_ns == 2_000_000
    assert first.effective_mode == pb.MODE_OBSERVE


@pytest.mark.parametrize("token", ["x", "-1", "²", "9" * 19])
def test_a_token_that_is_not_ours(client: Client, token: str) -> None:
    with pytest.raises(InvalidError) as caught:
        client._call("ListStreams", pb.ListStreamsRequest(page_token=token), pb.ListStreamsResponse)
    assert list(caught.value.fields) == ["page_token"]


def test_a_page_of_negative_size(client: Client) -> None:
    with pytest.raises(InvalidError) as caught:
        client._call("ListStreams", pb.ListStreamsRequest(page_size=-1), pb.ListStreamsResponse)
    assert list(caught.value.fields) == ["page_size"]
    assert caught.value.reason == "BAD_FIELD"
    assert re.fullmatch("[0-9a-f]{16}", caught.value.request_id)


def test_apply_policy(client: Client, plane: Served) -> None:
    (applied,) = client.apply(POLICY, "storm.yaml")
    assert (applied.policy.name, applied.policy.origin, applied.effect) == ("fork-storm", "api", "new")
    assert list(plane.responder.rules) == ["fork-storm"]
    assert client.apply(POLICY, "storm.yaml")[0].effect == "unchanged"
    actors = {c.actor for c in plane.responder.commands if isinstance(c, frames.ApplyRule)}
    assert actors == {"unix:admin"}


def test_apply_policy_dry(client: Client, plane: Served) -> None:
    (applied,) = client.apply(POLICY, "storm.yaml", dry_run=True)
    assert applied.effect == "new"
    assert plane.responder.rules == {}


def test_a_bad_policy_is_told_with_its_line(client: Client, plane: Served) -> None:
    with pytest.raises(InvalidError, match=r"storm\.yaml:5: ") as caught:
        client.apply(POLICY.replace(b"process.fork", b"process.frok"), "storm.yaml")
    assert "process.fork" in caught.value.fields["yaml"]
    assert plane.responder.commands == []


def test_one_policy_refused_means_none_applied(client: Client, plane: Served) -> None:
    cpu = POLICY.replace(b"fork-storm", b"slow").replace(b"process.fork", b"cpu.runq_delay")
    with pytest.raises(RefusedError, match="no sensor"):
        client.apply(POLICY + b"---\n" + cpu.replace(b"500/s", b"5ms"), "two.yaml")
    assert plane.responder.rules == {}


def test_a_request_that_is_too_large_is_refused_before_it_is_read(client: Client) -> None:
    with pytest.raises(ClientError, match="larger than max"):
        client.apply(b"#" * 10_000_000, "huge.yaml")
    assert client.status().pid == 42


def test_delete_policy(client: Client, plane: Served) -> None:
    plane.responder.rules = {"a": a_rule("a")}
    client.delete("a")
    assert plane.responder.rules == {}
    with pytest.raises(NotFoundError, match=r"no policy is called a .see"):
        client.delete("a")
    with pytest.raises(InvalidError):
        client.delete("")


def test_set_mode(client: Client, plane: Served) -> None:
    client.set_mode(pb.MODE_ENFORCE)
    assert plane.responder.status.mode == "enforce"
    client.set_mode(pb.MODE_OFF, "fork-storm")
    command = plane.responder.commands[-1]
    assert isinstance(command, frames.SetMode)
    assert (command.mode, command.rule, command.actor) == ("off", "fork-storm", "unix:admin")
    for mode in (pb.MODE_UNSPECIFIED, 7):
        with pytest.raises(InvalidError):
            client._call("SetMode", pb.SetModeRequest(mode=mode), pb.SetModeResponse)  # type: ignore[arg-type]


def test_undo(client: Client, plane: Served) -> None:
    assert client.undo(told.TRACE.hex()).undone == 1
    assert client.undo_all().undone == 0
    asked = [c.trace_id for c in plane.responder.commands if isinstance(c, frames.UndoActs)]
    assert asked == [told.TRACE, b""]


@pytest.mark.parametrize(
    "what", [{}, {"all": False}, {"trace_id": "x"}], ids=["nothing", "not all", "bad id"]
)
def test_undo_of_nothing_in_particular_undoes_nothing(
    client: Client, plane: Served, what: dict[str, Any]
) -> None:
    with pytest.raises(InvalidError):
        client._call("Undo", pb.UndoRequest(**what), pb.UndoResponse)
    assert plane.responder.commands == []


def test_list_reflexes(client: Client, plane: Served) -> None:
    plane.feed(*told.reflex())
    (reflex,) = client.reflexes()
    assert reflex.trace_id == told.TRACE.hex()
    assert reflex.finding.decided_after_ns == 41_000
    assert [step.since_event_ns for step in reflex.steps] == [45_000, 55_000, 80_000, 10_000_000_000]
    assert client.reflex(told.TRACE.hex()) == reflex


def test_list_reflexes_newest_first_over_pages(client: Client, plane: Served) -> None:
    traces = [number.to_bytes(16, "big") for number in range(frames.PAGE + 1)]
    plane.feed(*[told.finding(trace) for trace in traces])
    newest = client.reflexes()
    first = list(itertools.islice(newest, frames.PAGE))
    plane.feed(told.finding(b"f" * 16))
    assert [r.trace_id for r in (*first, *newest)] == [trace.hex() for trace in reversed(traces)]


def test_a_reflex_that_is_not_kept(client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.reflex("0" * 32)
    with pytest.raises(InvalidError):
        client.reflex("nonsense")


def test_watch(client: Client, plane: Served) -> None:
    events = client.watch()
    lost = records.Lost(time_ns=1, sensor="cpu", reason="ring", count=3)
    notice = records.Notice(time_ns=2, name="arc.armed", attributes={"sensors": 2})
    plane.feed(told.finding(), told.outcome(), lost, notice)
    finding, step, loss, news = itertools.islice(events, 4)
    assert (finding.uid, finding.finding.policy, finding.finding.victim.path) == (
        "i-0",
        "fork-storm",
        "/storm",
    )
    assert (step.step.kind, step.step.ok, step.step.since_event_ns) == (
        pb.ReflexStep.KIND_OUTCOME,
        True,
        55_000,
    )
    assert (loss.loss.sensor, loss.loss.count) == ("cpu", 3)
    assert (news.notice.name, dict(news.notice.attributes)) == ("arc.armed", {"sensors": "2"})


def test_a_watcher_that_does_not_read_is_ended_and_others_hear_everything(plane: Served) -> None:
    notice = records.Notice(time_ns=1, name="x", text="t" * 4096)
    with Client(plane.target) as slow_client, Client(plane.target) as quick_client:
        slow, quick = slow_client.watch(), quick_client.watch()
        for _ in range(MAX_WAITING * 3):
            plane.feed(notice)
            next(quick)
        assert plane.story.watchers_dropped == {"slow": 1}
        with pytest.raises(ClientError, match="waiting to be read"):
            for _ in slow:
                pass
        plane.feed(notice)
        assert next(quick).notice.name == "x"


def test_watchers_are_bounded(client: Client, plane: Served) -> None:
    with Client(plane.target) as other:
        # Two connections: each carries at most 50 calls.
        watches = [(client, other)[n % 2].watch() for n in range(MAX_WATCHERS)]
        assert plane.story.watchers == MAX_WATCHERS
        with pytest.raises(ClientError, match="watch already"):
            next(client.watch())
        assert len(watches) == MAX_WATCHERS


def test_an_arc_that_does_not_answer(client: Client, plane: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arc_module, "TIMEOUT_S", 0.01)
    plane.responder.silent = True
    with pytest.raises(ConnectError, match="does not answer"):
        client.status()


def test_explain(client: Client, plane: Served) -> None:
    plane.feed(*told.explained())
    explained = client.explain(told.TRACE.hex()[:4])
    assert explained.reflex == client.reflex(told.TRACE.hex())
    evidence = explained.evidence
    assert [sample.since_event_ns for sample in evidence.trail] == [
        sample.time_ns - told.EVENT_NS for sample in told.samples()
    ]
    assert evidence.trail[-1].statistic == 812.8
    assert (evidence.itself.path, evidence.rivals[0].total) == ("/storm", 120_000)
    assert (evidence.suspects[0].who.pid, evidence.suspects[0].parent) == (1200, True)


def test_explain_a_reflex_without_evidence(client: Client, plane: Served) -> None:
    plane.feed(*told.reflex())
    assert not client.explain(told.TRACE.hex()).HasField("evidence")


def test_explain_a_reflex_that_is_not_kept_says_where_it_may_be(client: Client) -> None:
    with pytest.raises(NotFoundError, match="exported"):
        client.explain(told.TRACE.hex())


@pytest.mark.parametrize("name", ["", "0", "abc", "xyz0", "g" * 32, "0" * 33])
def test_explain_what_is_no_trace(client: Client, name: str) -> None:
    with pytest.raises(InvalidError) as caught:
        client.explain(name)
    assert list(caught.value.fields) == ["id"]


def test_explain_what_begins_alike(client: Client, plane: Served) -> None:
    other = told.TRACE[:2] + bytes(14)
    plane.feed(*told.reflex(), told.finding(other))
    with pytest.raises(InvalidError, match="more digits"):
        client.explain(told.TRACE.hex()[:4])
    assert client.explain(told.TRACE.hex()[:6]).reflex.trace_id == told.TRACE.hex()


def test_a_name_that_no_policy_can_have(client: Client) -> None:
    long = "x" * 64
    for call in (
        lambda: client.delete(long),
        lambda: client.set_mode(pb.MODE_OBSERVE, long),
        lambda: client.close_breaker(long),
    ):
        with pytest.raises(InvalidError, match="at most 63"):
            call()
