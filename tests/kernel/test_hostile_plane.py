"""A plane that was taken over says on the link what it likes: what the arc makes of it."""

import os
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import inspect

from controlplane.arc.commands import CHANGES_AT_ONCE
from controlplane.link.frames import (
    COMMANDS,
    ApplyRule,
    Command,
    Done,
    Refused,
    Result,
    SegmentMoved,
    SetMode,
    Status,
    Trigger,
)
from controlplane.link.hooks import Hook
from controlplane.link.malformed import MALFORMED
from controlplane.link.records import Notice
from controlplane.link.rules import NS, Rate, Rule, Scope, Step
from tests.kernel.conftest import TestCgroup, Turned, await_until

Turn = Callable[..., Turned]
RUN = Hook(("/bin/true",))
FREEZE = Step("freeze", for_ns=NS)
OF_STEP = {
    "allow.address": "4 or 16 bytes, sent to the kernel",
    "hook.run": "refused",
    "hook.undo": "refused",
    "hook.user": "refused",
    "interface": "a name without /, sent to the kernel",
}
TEXTS = {
    **{f"ApplyRule.rule.ladder.{name}": why for name, why in OF_STEP.items()},
    **{f"Trigger.step.{name}": why for name, why in OF_STEP.items()},
    "ApplyRule.rule.confirm.signal": "one that there is",
    "ApplyRule.rule.name": "letters, digits and -",
    "ApplyRule.rule.origin": "replaced",
    "ApplyRule.rule.protect": "compared; it can only add",
    "ApplyRule.rule.scope.cgroups": "globs, compared with paths of cgroups as the kernel has them",
    "ApplyRule.rule.signal": "one that there is",
    "CloseBreaker.rule": "looked up in a table",
    "DeleteRule.name": "looked up in a table",
    "Noticed.text": "told",
    "SetMode.rule": "looked up in a table",
    "Trigger.parent_id": "told",
    "Trigger.path": "leads down from the mount of cgroups, and the kernel must call the cgroup so",
    "Trigger.trace_id": "told",
    "UndoActs.trace_id": "compared",
}
"""Every text that a command can carry -> what the arc does with it. Actors, calls and log lines are told."""


def texts(info: inspect.Type, at: str) -> Iterator[str]:
    match info:
        case inspect.StrType() | inspect.BytesType():
            yield at
        case inspect.StructType():
            for field in info.fields:
                yield from texts(field.type, f"{at}.{field.name}")
        case inspect.UnionType():
            for each in info.types:
                yield from texts(each, at)
        case inspect.VarTupleType():
            yield from texts(info.item_type, at)
        case _:
            whole = (inspect.IntType, inspect.BoolType, inspect.NoneType, inspect.LiteralType)
            assert isinstance(info, whole), f"{at} is something new"


def test_every_text_it_can_send_is_accounted_for() -> None:
    union = inspect.type_info(Command)
    assert isinstance(union, inspect.UnionType)
    structs = [each for each in union.types if isinstance(each, inspect.StructType)]
    found = {text for each in structs for text in texts(each, each.cls.__name__)}
    words = ("Audited.call.", "Diagnosed.said.")
    told = {text for text in found if text.endswith(".actor") or text.startswith(words)}
    assert found - told == TEXTS.keys()


def say(turned: Turned, command: Command | dict[str, object]) -> Result | None:
    """One frame, as it comes off the link; None: the arc makes nothing of it."""
    try:
        decoded = COMMANDS.decode(msgspec.msgpack.encode(command))
    except MALFORMED:
        return None
    return turned.arc._commands.answer(decoded)


def refused(answer: Result | None) -> str:
    """Why; a frame that is no command is as good."""
    if answer is None:
        return "malformed"
    assert isinstance(answer, Refused), answer
    return answer.reason


def rule(**changes: object) -> Rule:
    made = Rule(
        name="mine",
        signal="process.fork",
        scope=Scope(cgroups=("/reflexarc-test-nowhere",)),
        test=Rate(interval_ns=NS, burst=1),
        ladder=(FREEZE,),
    )
    return msgspec.structs.replace(made, **changes)


def test_it_runs_no_program(turn: Turn) -> None:
    turned = turn()
    for dry in (False, True):
        for origin in ("api", "default", "/etc/reflexarc/policies.d/theirs.yaml"):
            hook = rule(ladder=(Step("hook", hook=RUN),), origin=origin)
            assert refused(say(turned, ApplyRule(id=1, rule=hook, dry_run=dry))) == "forbidden"
        by_hand = Trigger(id=2, step=Step("hook", hook=RUN), pid=os.getpid(), dry_run=dry)
        assert refused(say(turned, by_hand)) == "invalid"
    assert turned.arc._book.find("mine") is None


def test_a_program_of_a_file_is_not_exchanged(turn: Turn) -> None:
    theirs = rule(name="theirs", ladder=(Step("hook", hook=RUN),), origin="/etc/reflexarc/policies.d/x.yaml")
    turned = turn(theirs)
    other = msgspec.structs.replace(theirs, ladder=(Step("hook", hook=Hook(("/tmp/mine",))),))
    assert refused(say(turned, ApplyRule(id=1, rule=other))) == "forbidden"
    assert turned.arc._book.find("theirs") == theirs


def test_it_leads_the_arc_to_no_file(turn: Turn) -> None:
    turned = turn()
    for path in (
        *("/..", "/../../etc", "/a/../b", "//etc", "etc", "/etc/", "/.", "/a\0b", "/" + "a" * 5000),
        *("/proc/1/root", "/etc/passwd"),  # below the mount, where no such cgroup is
    ):
        assert refused(say(turned, Trigger(id=1, step=FREEZE, path=path))) in {"invalid", "not_found"}, path


def test_an_interface_is_a_name(turn: Turn) -> None:
    turned = turn()
    for name in ("../x", "a/b", "x" * 16, "a b", "a\0b"):
        answer = say(turned, Trigger(id=1, step=Step("shape", for_ns=NS, interface=name), path="/x"))
        assert isinstance(answer, Refused), name
        assert (answer.reason, "interface" in answer.message) == ("invalid", True), name


def test_protection_does_not_narrow(turn: Turn, cgroup: TestCgroup) -> None:
    """With a rule in force whose scope is everything, and by hand."""
    turned = turn()
    widest = rule(scope=Scope(node=True, cgroups=("/", "/**")), protect=(), mode="enforce")
    say(turned, ApplyRule(id=1, rule=widest))
    say(turned, SetMode(id=2, mode="enforce"))
    kill = Step("kill")
    for pid in (1, 2, os.getpid()):
        assert refused(say(turned, Trigger(id=3, step=kill, pid=pid))) in {"forbidden", "not_found"}
    assert refused(say(turned, Trigger(id=4, step=kill, path="/"))) in {"forbidden", "invalid"}
    process = cgroup.run("sleep", "60")
    await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
    stale = Trigger(id=5, step=kill, pid=process.pid, start_ns=1)
    assert refused(say(turned, stale)) == "not_found", "another process of that number"
    assert process.poll() is None


def test_a_policy_from_the_link_says_so(turn: Turn) -> None:
    turned = turn()
    assert isinstance(say(turned, ApplyRule(id=1, rule=rule(origin="/etc/reflexarc/x.yaml"))), Done)
    found = turned.arc._book.find("mine")
    assert found is not None
    assert found.origin == "api"


def test_it_forges_and_erases_no_journal(turn: Turn) -> None:
    """It may give back a sealed segment, which it has; not the one that is written, nor what is none."""
    turned = turn()
    before = turned.records()
    for segment in (-1, 0, 1 << 62, *turned.arc.journal._segments):
        assert say(turned, SegmentMoved(id=1, segment=segment)) == Done()
    assert turned.records()[: len(before)] == before


def test_its_words_are_short(turn: Turn) -> None:
    turned = turn()
    long = "x" * 257
    for command in (
        SetMode(id=1, mode="observe", actor=long),
        ApplyRule(id=2, rule=rule(), actor=long),
        Trigger(id=3, step=FREEZE, path="/x", actor=long),
    ):
        assert say(turned, command) is None
    assert not [record for record in turned.records() if long in str(record)]


def test_a_flood_of_changes_is_refused(turn: Turn) -> None:
    turned = turn()
    turned.arc._commands._pace._credit = 3
    turned.arc._commands._pace._counted_ns = time.monotonic_ns()
    assert CHANGES_AT_ONCE >= 256
    answers = [say(turned, SetMode(id=number, mode="observe")) for number in range(64)]
    busy = [each for each in answers if isinstance(each, Refused) and each.reason == "busy"]
    assert len(busy) > 32
    told = [each for each in turned.of(Notice) if each.name == "mode.changed"]
    assert len(told) == 64 - len(busy)
    assert isinstance(say(turned, ApplyRule(id=99, rule=rule(), dry_run=True)), Done), "that changes nothing"


def test_what_is_no_frame_is_passed_over(turn: Turn) -> None:
    turned = turn()
    endless = (b"\xdf\xff\xff\xff\xff", b"\x91" * 60_000, b"\xc6\xff\xff\xff\xff")
    for frame in (b"", b"\xc1", b"\x80", os.urandom(64), *endless):
        turned.arc._received(frame)
    assert isinstance(say(turned, {"type": "GetStatus", "id": 1}), Status)
