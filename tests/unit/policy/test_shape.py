"""Errors of types, said in the words of the file."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from controlplane.policy.document import documents
from controlplane.policy.errors import PolicyError, UnitError
from controlplane.policy.shape import shaped


class Even(int):
    """A number that a hook reads."""


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    colour: Literal["red", "green"] = "red"
    count: Annotated[int, Meta(ge=1, le=9)] | None = None


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None
    items: tuple[Inner, ...] = ()
    labels: dict[str, str] = {}
    even: Even | None = None


def read_even(_: type, value: object) -> Even:
    if not isinstance(value, int) or value % 2:
        raise UnitError("is odd", "add one")
    return Even(value)


def shape(text: str) -> Outer:
    (document,) = documents(text.encode(), "f.yaml")
    return shaped(document, Outer, read_even)


def test_what_fits() -> None:
    found = shape("name: n\nitems: [{colour: green}]\neven: 2\n")
    assert found == Outer("n", items=(Inner("green"),), even=Even(2))


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[]", 1, "the document must be a mapping, not a list", ""),
        ("nam: n", 1, "unknown key 'nam' in the document", "did you mean `name`?"),
        (
            "name: n\nx y`z: 1",
            2,
            "unknown key 'x y`z' in the document",
            "one of: even, inner, items, labels, name",
        ),
        ("name: n\ninner:\n  coulor: red", 3, "unknown key 'coulor' in inner", "did you mean `colour`?"),
        (
            "name: n\nitems:\n- {}\n- colour: red\n  kount: 1",
            5,
            "unknown key 'kount' in items[1]",
            "did you mean `count`?",
        ),
        ("items: []", 1, "`name` is missing in the document", ""),
        ("name: 3", 1, "name must be text, not a whole number", ""),
        ("name: true", 1, "name must be text, not true or false", ""),
        ("name: {}", 1, "name must be text, not a mapping", ""),
        ("name:", 1, "name must be text, not empty", ""),
        ("name: n\nitems: 3", 2, "items must be a list, not a whole number", ""),
        (
            "name: n\ninner:\n  count: .nan",
            3,
            "inner.count must be a whole number, not a number that is not whole",
            "",
        ),
        ("name: n\ninner:\n  count: x", 3, "inner.count must be a whole number, not text", ""),
        ("name: n\ninner: {count: 0}", 2, "inner.count must be a whole number >= 1", ""),
        ("name: n\ninner: {count: 10}", 2, "inner.count must be a whole number <= 9", ""),
        ("name: n\ninner: text", 2, "inner must be a mapping, not text", ""),
        (
            "name: n\nitems:\n- {}\n- {colour: gren}",
            4,
            "items[1].colour cannot be 'gren'",
            "did you mean `green`?",
        ),
        ("name: n\ninner: {colour: 5}", 2, "inner.colour must be text, not a whole number", ""),
        ("name: n\nlabels:\n  a: 1", 2, "labels[...] must be text, not a whole number", ""),
        ("name: n\neven: 3", 2, "even: is odd", "add one"),
    ],
)
def test_what_does_not(text: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        shape(text)
    error = caught.value
    assert (error.file, error.line, error.message, error.hint) == ("f.yaml", line, message, hint)
