"""The breaker counts, opens, stays open, and keeps what it knows over a crash."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.arc.reflex import breaker
from controlplane.arc.reflex.breaker import Breaker, kept
from controlplane.link.rules import NS, Allowance, Rate, Rule, Step

WINDOW_NS = 60 * NS


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def again(folder: int, acts: int = 2) -> Breaker:
    """The breaker of the next daemon; the one before was killed."""
    return Breaker(acts, WINDOW_NS, kept(folder))


def rule(name: str, allowed: Allowance | None) -> Rule:
    """One that may kill so often."""
    test = Rate(interval_ns=NS, burst=1)
    return Rule(name=name, signal="process.exec", test=test, ladder=(Step("kill"),), breaker=allowed)


def test_so_many_in_a_window_and_then_none() -> None:
    guard = Breaker(2, WINDOW_NS)
    assert [guard.must_allow("r", NS), guard.must_allow("r", 2 * NS), guard.must_allow("r", 3 * NS)] == [
        *(True, True),
        False,
    ]
    assert guard.open == {"r"}
    assert not guard.must_allow("r", 1000 * NS)
    assert guard.must_allow("other", 1000 * NS)


def test_those_of_long_ago_do_not_count() -> None:
    guard = Breaker(2, WINDOW_NS)
    assert all(guard.must_allow("r", number * WINDOW_NS) for number in range(1, 10))


def test_the_node_has_a_budget_too() -> None:
    guard = Breaker(2, WINDOW_NS)
    assert guard.must_allow("a", NS)
    assert guard.must_allow("b", NS)
    assert not guard.must_allow("c", NS)
    assert guard.open == {""}


def test_it_is_told_once_that_one_has_opened() -> None:
    guard = Breaker(1, WINDOW_NS)
    guard.must_allow("r", NS)
    assert not guard.must_allow("r", NS)
    assert not guard.must_allow("r", NS)
    assert (guard.take_news(), guard.take_news()) == (("r",), ())


def test_a_crash_loop_has_one_budget(folder: int) -> None:
    allowed = [again(folder).must_allow("r", number * NS) for number in range(1, 6)]
    assert allowed == [True, True, False, False, False]
    last = again(folder)
    assert (last.open, last.take_news()) == ({"r"}, ("r",))


def test_a_restart_with_another_budget_keeps_what_was_counted(folder: int) -> None:
    before = again(folder, 5)
    assert all(before.must_allow("r", number * NS) for number in range(1, 5))
    assert not again(folder, 2).must_allow("r", 5 * NS)


def test_closed_it_begins_anew_for_the_next_daemon_too(folder: int) -> None:
    guard = again(folder)
    while guard.must_allow("r", NS):
        guard.must_allow("other", NS)
    assert guard.close("r") == ("r" in guard.open)
    for name in sorted(guard.open):
        assert guard.close(name)
    assert not guard.close("r")
    after = again(folder)
    assert (after.open, after.must_allow("r", 2 * NS)) == (set(), True)


def test_closing_one_leaves_the_counts_of_others(folder: int) -> None:
    guard = again(folder, 3)
    guard.must_allow("other", NS)
    guard.must_open("r")
    guard.close("r")
    assert again(folder, 3)._memory.acts() == [(NS, "other")]


def test_a_policy_has_a_breaker_of_its_own_and_others_go_on() -> None:
    guard = Breaker(5, WINDOW_NS)
    guard.follow((rule("few", Allowance(1, 600 * NS)), rule("usual", None)))
    assert guard.must_allow("few", NS)
    assert not guard.must_allow("few", 500 * NS)
    assert guard.open == {"few"}
    assert guard.must_allow("usual", 500 * NS)
    assert (guard.allowance("few"), guard.allowance("usual")) == (
        Allowance(1, 600 * NS),
        Allowance(5, WINDOW_NS),
    )


def test_what_was_done_counts_under_a_changed_allowance(folder: int) -> None:
    guard = again(folder, 5)
    for number in range(1, 4):
        assert guard.must_allow("r", number * 10 * NS)
    guard.follow((rule("r", Allowance(4, 600 * NS)),))
    assert guard.must_allow("r", 100 * NS)
    assert not guard.allows("r", 101 * NS)
    after = again(folder, 5)
    after.follow((rule("r", Allowance(4, 600 * NS)),))
    assert not after.allows("r", 101 * NS)
    after.follow(())
    assert after.allows("r", 101 * NS)


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 4096])
def test_a_damaged_file_is_a_fresh_start(folder: int, tmp_path: Path, damage: bytes) -> None:
    again(folder).must_open("r")
    (tmp_path / breaker.NAME).write_bytes(damage)
    assert again(folder).open == set()


def test_another_boot_is_a_fresh_start(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    again(folder).must_open("r")
    monkeypatch.setattr(breaker, "boot_id", lambda: bytes(16))
    assert again(folder).open == set()


def test_more_than_there_is_room_for(folder: int) -> None:
    guard = again(folder, 1000)
    for number in range(breaker.MAX_OPEN + 10):
        guard.must_open(f"rule-{number}")
    assert len(again(folder, 1000).open) == breaker.MAX_OPEN
