"""The part of YAML that is taken, the lines that are kept, and the part that is refused."""

import math
import time

import pytest
import yaml

from controlplane.policy import document
from controlplane.policy.document import MAX_BYTES, MAX_DEPTH, Document, documents
from controlplane.policy.errors import PolicyError


@pytest.fixture(params=["libyaml", "python"])
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: which one an installation has is not ours to say."""
    if request.param == "python":
        monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)


pytestmark = pytest.mark.usefixtures("_loader")


def one(text: str) -> Document:
    (found,) = documents(text.encode(), "f.yaml")
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("127.0.0.1:9464", "127.0.0.1:9464"),
        ("2026-01-02", "2026-01-02"),
        ("0x10", "0x10"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("<<", "<<"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1e999", math.inf),
        ("9" * 18, 999_999_999_999_999_999),
        ("9" * 19, 1e19),
        ("'12'", "12"),
        ('"true"', "true"),
        ("[]", []),
        ("{}", {}),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_values(text: str, value: object) -> None:
    found = one(f"key: {text}").value
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_not_a_number_is_a_number_to_refuse() -> None:
    found = one("key: .nan").value
    assert isinstance(found, dict)
    assert isinstance(found["key"], float)
    assert math.isnan(found["key"])


def test_keys_are_words() -> None:
    assert one("1: a\non: b\n~: c").value == {"1": "a", "on": "b", "~": "c"}


TEXT = """\
# comment
a: 1
b:
  c:
    - x
    - {d: 1,
       e: 2}
---
---
f: |
  text
g: 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("$", 2),
        ("$.a", 2),
        ("$.b", 3),
        ("$.b.c", 4),
        ("$.b.c[0]", 5),
        ("$.b.c[1]", 6),
        ("$.b.c[1].d", 6),
        ("$.b.c[1].e", 7),
        ("$.b.c[1].unknown", 6),
        ("$.b.c[7]", 4),
        ("$.b.x.y[3].z", 3),
        ("$.nowhere", 2),
    ],
)
def test_lines(path: str, line: int) -> None:
    assert documents(TEXT.encode(), "f.yaml")[0].line(path) == line


def test_several_documents_keep_their_lines() -> None:
    first, second = documents(TEXT.encode(), "f.yaml")
    assert first.value != second.value
    assert second.line("$.g") == 12


@pytest.mark.parametrize("text", ["# nothing but words\n", "---\n", "--- # a\n---\n", "~"])
def test_empty_documents_are_left_out(text: str) -> None:
    assert documents(text.encode(), "f.yaml") == []


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"", 0, "is empty"),
        (b" \n\t\n", 0, "is empty"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "not UTF-8"),
        (b"a: 1\nb: \x00\n", 2, "control character"),
        (b"a: 1\n\nb: \x1b[2J\n", 3, "control character"),
        (b"a: 1\nb: c: d\n", 2, "not YAML"),
        (b"a: 1\n\tb: 2\n", 2, "not YAML"),
        (b"a: [1,\nb: 2\n", 2, "not YAML"),
        (b"a: 'open\n", 1, "not YAML"),
        (b"%YAML 3.0\n---\na: 1\n", 1, "not YAML"),
        (b"a: 1\nb: &x 2\n", 2, "anchors"),
        (b"a: &x [1]\nb: *x\n", 1, "anchors"),
        (b"a: 1\n&k b: 2\n", 2, "anchors"),
        (b"a: 1\nb: !!str 2\n", 2, "tag"),
        (b"a: 1\nb: !!python/object:os.system x\n", 2, "tag"),
        (b"a: 1\nb: !own [1]\n", 2, "tag"),
        (b"a: 1\nb: 2\na: 3\n", 3, "already on line 1"),
        (b"a:\n  b: 1\n  c: 2\n  b: 3\n", 4, "already on line 2"),
        (b"a: 1\n? [b]\n: 2\n", 2, "must be a word"),
        (b"a: " + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), 1, "nested"),
    ],
)
def test_refused(data: bytes, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        documents(data, "f.yaml")
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == ("f.yaml", line)


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(PolicyError, match="anchors") as caught:
        documents(bomb.encode(), "f.yaml")
    assert caught.value.line == 1


def test_depth_is_bounded_before_it_costs_anything() -> None:
    started = time.process_time()
    with pytest.raises(PolicyError, match="nest"):
        documents(b"[" * 100_000, "f.yaml")
    assert time.process_time() - started < 1.0


def test_size_is_bounded() -> None:
    assert documents(b"a: 1 #" + b"x" * (MAX_BYTES - 6), "f.yaml")
    with pytest.raises(PolicyError, match="1 MiB"):
        documents(b"a: 1 #" + b"x" * (MAX_BYTES - 5), "f.yaml")
