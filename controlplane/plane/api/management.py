"""The Management service: asks the arc or the story, and converts. Decides nothing.

Who may call is the front door's business; how an exception looks to a client, too.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from typing import TypeVar

import grpc

from controlplane.link import frames, rules
from controlplane.link.config import Mode
from controlplane.link.signals import BY_NAME, Known
from controlplane.plane.api import by_hand, convert
from controlplane.plane.api.aio_server import Handlers
from controlplane.plane.api.errors import ApiError, Reason, bad_field
from controlplane.plane.api.explain import explanation
from controlplane.plane.api.front_door import CALLER
from controlplane.plane.api.identities import Context
from controlplane.plane.api.in_time import StalledError
from controlplane.plane.api.summary import shortened
from controlplane.plane.arc import Arc
from controlplane.plane.story import (
    MAX_REFLEXES,
    Story,
    StoryEndedError,
    TooManyWatchersError,
    WatcherDroppedError,
)
from controlplane.policy.compile import rules_of
from controlplane.policy.errors import PolicyError
from controlplane.wire import management_pb2 as pb
from controlplane.wire.methods import MANAGEMENT, Role, methods

MODE_NAMES: dict[int, Mode] = {number: mode for mode, number in convert.MODES.items()}
TRACE_ID = re.compile(r"[0-9a-f]{32}")
PREFIX = re.compile(r"[0-9a-f]{4,32}")
NOT_KEPT = (
    f"no reflex of this trace is among the last {MAX_REFLEXES:,}, which are kept; "
    "older ones are where the logs are exported to"
)
MAX_NAME = 63
"""Of a policy, as `faults` has it."""
T = TypeVar("T")


class Management:
    """The servicer. Methods are named as in the .proto; `handlers` makes them callable."""

    def __init__(self, arc: Arc, story: Story, known: Known = BY_NAME) -> None:
        self._arc = arc
        self._known = known
        self._story = story

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """A snapshot of the arc, and who watches."""
        status = await self._status()
        response = convert.status(status, time.time_ns() - time.monotonic_ns())
        response.watchers = self._story.watchers
        response.watchers_dropped.update(self._story.watchers_dropped)
        return response

    async def ListSensors(self, request: pb.ListSensorsRequest, context: Context) -> pb.ListSensorsResponse:
        """Sensors, from a snapshot."""
        size, start = page_size(request.page_size), number_in(request.page_token)
        sensors = (await self._status()).sensors
        page, token = cut(sensors[start:], size, start, 0)
        return pb.ListSensorsResponse(sensors=map(convert.sensor, page), next_page_token=token)

    async def ListStreams(self, request: pb.ListStreamsRequest, context: Context) -> pb.ListStreamsResponse:
        """One page of the arc's streams."""
        size, start = page_size(request.page_size), number_in(request.page_token)
        found = await self._arc.ask_for(frames.Streams, lambda id_: frames.ListStreams(id=id_, offset=start))
        page, token = cut(found.streams, size, start, found.next_offset)
        return pb.ListStreamsResponse(streams=map(convert.stream, page), next_page_token=token)

    async def ListPolicies(
        self, request: pb.ListPoliciesRequest, context: Context
    ) -> pb.ListPoliciesResponse:
        """One page of the arc's rules."""
        size, start = page_size(request.page_size), number_in(request.page_token)
        found = await self._arc.ask_for(frames.Rules, lambda id_: frames.ListRules(id=id_, offset=start))
        page, token = cut(found.rules, size, start, found.next_offset)
        return pb.ListPoliciesResponse(policies=map(convert.policy_status, page), next_page_token=token)

    async def ApplyPolicy(self, request: pb.ApplyPolicyRequest, context: Context) -> pb.ApplyPolicyResponse:
        """Compiles here, has the arc check every rule, and only then has it apply them."""
        try:
            parsed = rules_of(request.yaml, request.origin or "policy", "api", self._known)
        except PolicyError as error:
            raise bad_field("yaml", str(error)) from error
        checked = [await self._apply(rule, dry_run=True) for rule in parsed]
        if not request.dry_run:
            for rule in parsed:
                await self._apply(rule, dry_run=False)
        applied = [
            pb.AppliedPolicy(policy=convert.policy(rule), effect=done.detail)
            for rule, done in zip(parsed, checked, strict=True)
        ]
        return pb.ApplyPolicyResponse(policies=applied)

    async def DeletePolicy(
        self, request: pb.DeletePolicyRequest, context: Context
    ) -> pb.DeletePolicyResponse:
        """Has the arc take a rule out of force."""
        if not request.name:
            raise bad_field("name", "which policy is not said")
        check_name("name", request.name)
        await self._do(lambda id_: frames.DeleteRule(id=id_, name=request.name, actor=_actor()))
        return pb.DeletePolicyResponse()

    async def SetMode(self, request: pb.SetModeRequest, context: Context) -> pb.SetModeResponse:
        """Has the arc set its mode, or a rule's."""
        mode = MODE_NAMES.get(request.mode)
        if mode is None:
            raise bad_field("mode", "the mode is one of off, observe and enforce")
        check_name("policy", request.policy)
        await self._do(lambda id_: frames.SetMode(id=id_, mode=mode, rule=request.policy, actor=_actor()))
        return pb.SetModeResponse()

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        """Everything the story is fed from now on."""
        try:
            with self._story.subscribe() as watcher:
                await context.send_initial_metadata(())
                while True:
                    told = await watcher.next()
                    try:
                        yield convert.told(told)
                    except StalledError:
                        self._story.stalled(watcher)
                        raise
        except (TooManyWatchersError, WatcherDroppedError) as error:
            raise ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        except StoryEndedError:
            raise ApiError(grpc.StatusCode.UNAVAILABLE, "the daemon stops") from None

    async def ListReflexes(
        self, request: pb.ListReflexesRequest, context: Context
    ) -> pb.ListReflexesResponse:
        """One page of the story, or one reflex of it."""
        if request.trace_id:
            reflex = self._story.reflex(trace_id_in(request.trace_id))
            if reflex is None:
                raise ApiError(grpc.StatusCode.NOT_FOUND, "no reflex of this trace is among those kept")
            return pb.ListReflexesResponse(reflexes=[convert.reflex(reflex)])
        size = page_size(request.page_size)
        before = number_in(request.page_token) if request.page_token else None
        page = list(islice(self._story.reflexes(before), size + 1))
        token = str(page[size - 1].number) if len(page) > size else ""
        return pb.ListReflexesResponse(reflexes=map(convert.reflex, page[:size]), next_page_token=token)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """One reflex of the story, with its evidence."""
        if not PREFIX.fullmatch(request.id):
            raise bad_field("id", "a trace id, or the first of its digits: 4 to 32 hexadecimal ones")
        found = self._story.named(request.id)
        if not found:
            raise ApiError(grpc.StatusCode.NOT_FOUND, NOT_KEPT)
        if len(found) > 1:
            raise bad_field("id", f"{len(found)} reflexes begin so: more digits are needed")
        return explanation(found[0])

    async def Trigger(self, request: pb.TriggerRequest, context: Context) -> pb.TriggerResponse:
        """Has the arc do one act; who may kill is decided here, as that depends on the act."""
        if not request.WhichOneof("target"):
            raise bad_field("target", "say whom: the path of a cgroup, or a pid")
        step = by_hand.step_in(request)
        if step.act in rules.IRREVERSIBLE and not request.dry_run and CALLER.get().role != Role.ADMIN:
            raise ApiError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{step.act} cannot be undone: it needs the role admin",
                reason=Reason.ROLE_TOO_LOW,
            )
        parent = by_hand.parent_in(context.invocation_metadata() or ())
        answer = await self._arc.ask_for(
            frames.Triggered,
            lambda id_: frames.Trigger(
                id=id_,
                step=step,
                path=request.cgroup,
                pid=request.pid,
                start_ns=request.start_ns,
                dry_run=request.dry_run,
                actor=_actor(),
                trace_id=parent.trace_id,
                parent_id=parent.span_id,
                trace_flags=parent.flags,
            ),
        )
        return by_hand.response(answer, step)

    async def Undo(self, request: pb.UndoRequest, context: Context) -> pb.UndoResponse:
        """Has the arc undo what one reflex, or every reflex, has in force."""
        if not request.all and not request.trace_id:
            raise bad_field("what", "say what to undo: a trace id or all")
        trace_id = b"" if request.all else trace_id_in(request.trace_id)
        done = await self._do(lambda id_: frames.UndoActs(id=id_, trace_id=trace_id, actor=_actor()))
        return pb.UndoResponse(undone=done.changed)

    async def CloseBreaker(
        self, request: pb.CloseBreakerRequest, context: Context
    ) -> pb.CloseBreakerResponse:
        """Has the arc close a breaker."""
        if not request.node and not request.policy:
            raise bad_field("whose", "say whose breaker: a policy's or the node's")
        check_name("policy", request.policy)
        rule = "" if request.node else request.policy
        await self._do(lambda id_: frames.CloseBreaker(id=id_, rule=rule, actor=_actor()))
        return pb.CloseBreakerResponse()

    async def _status(self) -> frames.Status:
        return await self._arc.ask_for(frames.Status, lambda id_: frames.GetStatus(id=id_))

    async def _apply(self, rule: rules.Rule, *, dry_run: bool) -> frames.Done:
        return await self._do(
            lambda id_: frames.ApplyRule(id=id_, rule=rule, dry_run=dry_run, actor=_actor())
        )

    async def _do(self, make: Callable[[int], frames.Command]) -> frames.Done:
        return await self._arc.ask_for(frames.Done, make)


def handlers(servicer: Management) -> Handlers:
    """A handler for every method of the descriptor. Raises AttributeError where the servicer lacks one."""
    return {
        method.name: (
            grpc.unary_stream_rpc_method_handler if method.streams else grpc.unary_unary_rpc_method_handler
        )(getattr(servicer, method.name), method.request.FromString, method.response.SerializeToString)
        for method in methods(MANAGEMENT).values()
    }


def _actor() -> str:
    return shortened(CALLER.get().identity)


def check_name(field: str, name: str) -> None:
    """Raises ApiError for what no policy can be called."""
    if len(name) > MAX_NAME:
        raise bad_field(field, f"a policy's name has at most {MAX_NAME} characters")


def page_size(asked: int) -> int:
    """How many items to give; raises ApiError for a negative wish."""
    if asked < 0:
        raise bad_field("page_size", "a page has no negative size")
    return min(asked or frames.PAGE, frames.PAGE)


def number_in(page_token: str) -> int:
    """Where a page begins; raises ApiError for a token that is not one of ours."""
    if not page_token:
        return 0
    if not (page_token.isascii() and page_token.isdecimal() and len(page_token) <= 18):
        raise bad_field("page_token", "not a token of this list")
    return int(page_token)


def cut(items: Sequence[T], size: int, start: int, following: int) -> tuple[Sequence[T], str]:
    """At most `size` of the items found at `start`, and the token of what follows; `following` 0: nothing."""
    if len(items) > size:
        return items[:size], str(start + size)
    return items, str(following) if following else ""


def trace_id_in(text: str) -> bytes:
    """Raises ApiError for anything but 32 hexadecimal digits."""
    if not TRACE_ID.fullmatch(text):
        raise bad_field("trace_id", "a trace id is 32 lower-case hexadecimal digits")
    return bytes.fromhex(text)
