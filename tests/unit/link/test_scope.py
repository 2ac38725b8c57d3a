"""Globs over cgroup paths, held against a definition that tries everything."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.link.globs import MAX_GLOB
from controlplane.link.rules import Scope
from controlplane.link.scope import matches, matches_glob


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("/", "/"),
        ("/**", "/"),
        ("/**", "/a/b/c"),
        ("/a", "/a"),
        ("/*", "/a"),
        ("/a/**", "/a"),
        ("/a/**", "/a/b/c"),
        ("/**/c", "/c"),
        ("/**/c", "/a/b/c"),
        ("/a/**/c/*.scope", "/a/c/x.scope"),
        ("/a/**/c/*.scope", "/a/b/c/b/c/x.scope"),
        ("/kubepods.slice/*-pod?.slice", "/kubepods.slice/burstable-pod1.slice"),
        ("/a*", "/a"),
        ("/[x]", "/[x]"),
    ],
)
def test_names(glob: str, path: str) -> None:
    assert matches(Scope(cgroups=("/nothing", glob)), path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("/", "/a"),
        ("/*", "/"),
        ("/*", "/a/b"),
        ("/a", "/a/b"),
        ("/a", "/b/a"),
        ("/a", "/ab"),
        ("/a/**", "/ab/c"),
        ("/**/c", "/a/c/d"),
        ("/a?", "/a"),
        ("/a/*/c", "/a/c"),
        ("/a/*/c", "/a/b/b/c"),
        ("/[ab]", "/a"),
        ("/[", "/a"),
        ("/A", "/a"),
    ],
)
def test_does_not_name(glob: str, path: str) -> None:
    assert not matches(Scope(cgroups=("/nothing", glob)), path)


def test_the_node_is_every_cgroup() -> None:
    assert matches(Scope(node=True), "/any/thing")


def test_an_empty_scope_names_none() -> None:
    assert not matches(Scope(), "/")


def brute(pattern: str, text: str, star: str) -> bool:
    """By definition: a star is nothing, or one more of anything."""
    if not pattern:
        return not text
    if pattern[0] == star:
        return brute(pattern[1:], text, star) or (bool(text) and brute(pattern, text[1:], star))
    return bool(text) and pattern[0] in ("?", text[0]) and brute(pattern[1:], text[1:], star)


@given(st.text("ab*?", max_size=8), st.text("ab", min_size=1, max_size=8))
def test_within_a_component(pattern: str, name: str) -> None:
    if "**" in pattern or not pattern:
        return
    assert matches_glob(f"/{pattern}", f"/{name}") == brute(pattern, name, "*")


@given(st.lists(st.sampled_from(["a", "b", "?", "**"]), max_size=7), st.text("ab", max_size=7))
def test_across_components(pattern: list[str], path: str) -> None:
    # one letter a component, so that the same definition serves: `S` stands for `**`
    letters = "".join("S" if part == "**" else part for part in pattern)
    assert matches_glob("/" + "/".join(pattern), "/" + "/".join(path)) == brute(letters, path, "S")


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("/" + "a*" * (MAX_GLOB // 2 - 2) + "b", "/" + "a" * 255),
        ("/" + "**/a/" * (MAX_GLOB // 5 - 1) + "b", "/a" * 2000),
        ("/**/" + "*a" * 100 + "b", ("/" + "a" * 255) * 15),
    ],
)
def test_a_hostile_glob_costs_little(glob: str, path: str) -> None:
    started = time.process_time()
    assert not matches_glob(glob, path)
    assert time.process_time() - started < 1.0
