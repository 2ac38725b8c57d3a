"""A request in few words."""

from controlplane.plane.api.summary import MAX_SUMMARY, MAX_VALUE, shortened, summary
from controlplane.wire import management_pb2 as pb


def test_what_is_set_is_shown() -> None:
    assert summary(pb.SetModeRequest(mode=pb.MODE_ENFORCE, policy="a b")) == "mode=MODE_ENFORCE policy='a b'"
    assert summary(pb.UndoRequest(all=True)) == "all=True"
    assert summary(pb.SetModeRequest()) == ""
    assert summary(pb.SetModeRequest.FromString(b"\x08\x63")) == "mode=99"


def test_bytes_are_shown_by_their_hash() -> None:
    text = summary(pb.ApplyPolicyRequest(yaml=b"secret: hunter2", origin="a.yaml"))
    assert "hunter2" not in text
    assert text.startswith("yaml=<15 bytes, sha256 ")
    assert text.endswith("origin='a.yaml'")


def test_it_is_one_short_line() -> None:
    text = summary(pb.DeletePolicyRequest(name="x\n" * 10_000))
    assert len(text) <= MAX_VALUE + len("name=")
    assert "\n" not in text
    assert len(shortened("x" * 5000, MAX_SUMMARY)) == MAX_SUMMARY


def test_a_stream_of_requests_says_nothing() -> None:
    assert summary(iter(())) == ""
