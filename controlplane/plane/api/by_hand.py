"""An act asked for by hand: from the request to a step of a ladder, and the caller's trace. Pure."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from controlplane.link import frames
from controlplane.link.amounts import in_words
from controlplane.link.records import SAMPLED
from controlplane.link.rules import Step
from controlplane.plane.api.errors import bad_field
from controlplane.policy.model import StepSpec, read_quantity
from controlplane.policy.steps import StepError, step_of
from controlplane.wire import management_pb2 as pb

TRACEPARENT: Final = "traceparent"
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
NOT_SETTINGS: Final = frozenset({"act", "for", "after", "run", "undo", "timeout", "as"})


class Parent(NamedTuple):
    """The span that a call belongs to; empty where it says none."""

    trace_id: bytes = b""
    span_id: bytes = b""
    flags: int = SAMPLED


def parent_in(metadata: Iterable[tuple[str, str | bytes]]) -> Parent:
    """W3C Trace Context, 3.2: what is malformed is as if it were not there."""
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str) and (found := _TRACEPARENT.fullmatch(value)):
            return Parent(bytes.fromhex(found[1]), bytes.fromhex(found[2]), int(found[3], 16))
    return Parent()


def step_in(request: pb.TriggerRequest) -> Step:
    """The step as a policy would have it. Raises ApiError."""
    for key in NOT_SETTINGS.intersection(request.settings):
        raise bad_field("settings", f"`{key}` is no setting of an act by hand")
    value: dict[str, object] = {"act": request.act, **request.settings}
    if "allow" in request.settings:
        value["allow"] = request.settings["allow"].split(",")
    if request.for_ns:
        value["for"] = f"{request.for_ns}ns"
    try:
        spec = msgspec.convert(value, StepSpec, strict=False, dec_hook=read_quantity)
        return step_of(spec)
    except StepError as error:
        raise bad_field("settings", f"{error.key}: {error} ({error.hint})") from error
    except msgspec.ValidationError as error:
        raise bad_field("act" if str(error).endswith("$.act`") else "settings", str(error)) from error


def response(answer: frames.Triggered, step: Step) -> pb.TriggerResponse:
    """What was begun or, dry, would be written."""
    return pb.TriggerResponse(
        trace_id=answer.trace_id.hex(),
        victim=pb.Victim(cgroup=answer.cgroup, path=answer.path, pid=answer.pid, comm=answer.comm),
        writes=[f"{each.what} {each.before} -> {each.after}" for each in answer.changes]
        or [in_other_words(step, answer.pid)],
        guard=answer.guard,
        detail=answer.detail,
    )


def in_other_words(step: Step, pid: int) -> str:
    """What an act does that sets no value."""
    match step.act:
        case "kill" if pid:
            last = f"SIGKILL to process {pid}"
        case "kill":
            last = "cgroup.kill 1"
        case "reclaim":
            return " ".join(["memory.reclaim", *(in_words(step.act, each) for each in step.amounts)])
        case "evidence":
            return "a file of the state directory"
        case _:
            return step.act
    grace = step.grace_ns / 1_000_000_000
    return f"SIGTERM to each process, and after {grace:g} s {last}" if step.grace_ns else last
