"""`reflexarc act`."""

import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from controlplane.link import frames, records
from controlplane.link.rules import NS, Step
from tests.unit.cli.conftest import Ask, Said
from tests.unit.plane import told
from tests.unit.plane.served import Served


def asked(plane: Served) -> frames.Trigger:
    (command,) = (one for one in plane.responder.commands if isinstance(one, frames.Trigger))
    return command


def done(ask: Ask, plane: Served, *words: str, last: records.Record) -> Said:
    """Ask, and have the reflex told once somebody watches."""
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(ask, *words)
        plane.await_watcher()
        plane.feed(told.refused(b"x" * 16), msgspec.structs.replace(told.intent(), actor="local"), last)
        return said.result(10)


def test_what_came_of_it_is_told(ask: Ask, plane: Served) -> None:
    said = done(ask, plane, "act", "freeze", "/storm", "--for", "10s", last=told.outcome())
    assert said.exit == 0
    assert said.out.splitlines() == [
        f"trace {told.TRACE.hex()}",
        "intent    freeze /storm, asked for by local",
        "returned  freeze done",
    ]
    assert (asked(plane).step, asked(plane).path) == (Step("freeze", for_ns=10 * NS), "/storm")


def test_what_failed(ask: Ask, plane: Served) -> None:
    failed = msgspec.structs.replace(told.outcome(), ok=False, error="Device or resource busy")
    assert done(ask, plane, "act", "freeze", "/storm", last=failed).exit == 1


def test_what_was_refused_meanwhile(ask: Ask, plane: Served) -> None:
    assert done(ask, plane, "act", "freeze", "/storm", last=told.refused()).exit == 4


def test_for_machines(ask: Ask, plane: Served) -> None:
    said = done(ask, plane, "act", "freeze", "/storm", "--json", last=told.outcome())
    answer = json.loads(said.out)
    assert answer["trace_id"] == told.TRACE.hex()
    assert [step["kind"] for step in answer["steps"]] == ["intent", "outcome"]


def test_dry(ask: Ask, plane: Served) -> None:
    said = ask("act", "freeze", "/storm", "--dry-run")
    assert (said.exit, said.out) == (0, "freeze of /storm would write:\n  cgroup.freeze 0 -> 1\n")
    assert asked(plane).step.for_ns == 30 * NS


def test_dry_and_forbidden(ask: Ask) -> None:
    said = ask("act", "freeze", "/protected", "--dry-run")
    assert (said.exit, said.out) == (4, "freeze of /protected would be forbidden by protected\n")


def test_a_process_and_settings(ask: Ask, plane: Served) -> None:
    said = ask("act", "kill", "42", "grace=2s", "--dry-run", "--json")
    assert json.loads(said.out)["writes"] == ["SIGTERM to each process, and after 2 s SIGKILL to process 42"]
    assert (asked(plane).pid, asked(plane).step) == (42, Step("kill", grace_ns=2 * NS))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["freeze", "/a", "max"], "'max' is not KEY=VALUE"),
        (["freeze", "/a", "--for", "long"], "--for: 'long' is not a duration"),
    ],
)
def test_words_that_cannot_be_read(ask: Ask, words: list[str], said: str) -> None:
    answer = ask("act", *words)
    assert (answer.exit, said in answer.err) == (2, True)


def test_the_trace_of_the_environment_is_carried_on(
    ask: Ask, plane: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{told.TRACE.hex()}-{'b' * 16}-01")
    done(ask, plane, "act", "freeze", "/storm", last=told.outcome())
    assert asked(plane).parent_id.hex() == "b" * 16
