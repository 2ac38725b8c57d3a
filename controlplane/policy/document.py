"""From the bytes of a file to plain values that know their lines: a small, safe part of YAML.

Reads parser events, not PyYAML's objects: `off` stays a word, `1:30` is no number, and anchors, aliases,
tags and repeated keys are refused. Opens nothing and knows nothing of policies.
"""

import re
from collections.abc import Iterator
from typing import Final, NoReturn, TypeAlias

import msgspec
import yaml

from controlplane.policy.errors import PolicyError, shown

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.inf)|\.nan", re.IGNORECASE
)
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}


class Document(msgspec.Struct, frozen=True):
    """One document of a file. `lines` holds the line of every value by its path, `$.spec.ladder[0].act`."""

    file: str
    value: Value
    lines: dict[str, int]

    def line(self, path: str) -> int:
        """Line of the value at a path, or of the nearest one around it."""
        while path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["))]
        return self.lines[path]

    def error(self, path: str, message: str, hint: str = "") -> PolicyError:
        """An error at a path of this document."""
        return PolicyError(message, hint, self.file, self.line(path))


def documents(data: bytes, file: str) -> list[Document]:
    """The documents of a file, empty ones left out. Raises PolicyError."""
    if len(data) > MAX_BYTES:
        raise PolicyError("is larger than 1 MiB", "split it into several files", file)
    text = _decoded(data, file)
    if not text.strip():
        raise PolicyError("is empty", "delete it, or fill it in", file)
    reader = _Reader(file, yaml.parse(text, Loader=_LOADER))
    try:
        return list(reader.documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # a file that breaks off is reported on the line after its last
        line = min(mark.line + 1, len(text.splitlines())) if mark else 0
        raise PolicyError(f"is not YAML: {error.problem}", "", file, line) from None
    except yaml.YAMLError as error:
        raise PolicyError(f"is not YAML: {error}", "", file) from None


def _decoded(data: bytes, file: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError("is not UTF-8 text", "save it as UTF-8", file, line) from None
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise PolicyError(f"holds the control character {found[0]!r}", "remove it", file, line)
    return text


class _Reader:
    """Builds values from the events of one file."""

    def __init__(self, file: str, events: Iterator[yaml.Event]) -> None:
        self._file = file
        self._events = events
        self._lines: dict[str, int] = {}

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._lines = {}
                value = self._value(next(self._events), "$", 0)
                if value is not None:
                    yield Document(self._file, value, self._lines)

    def _value(self, event: yaml.Event, path: str, depth: int) -> Value:
        self._lines.setdefault(path, _line(event))
        self._refuse_references(event)
        if depth > MAX_DEPTH:
            self._refuse(event, f"is nested more than {MAX_DEPTH} deep")
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event)
            case yaml.SequenceStartEvent():
                return self._list(path, depth)
            case yaml.MappingStartEvent():
                return self._mapping(path, depth)
        raise AssertionError(f"no value begins with {event}")

    def _list(self, path: str, depth: int) -> list[Value]:
        values: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, f"{path}[{len(values)}]", depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in values:
                first = self._lines[f"{path}.{key}"]
                self._refuse(event, f"the key {shown(key)} is already on line {first}", "remove one of them")
            self._lines[f"{path}.{key}"] = _line(event)
            values[key] = self._value(next(self._events), f"{path}.{key}", depth + 1)
        return values

    def _key(self, event: yaml.Event) -> str:
        self._refuse_references(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key must be a word")
        return str(event.value)

    def _scalar(self, event: yaml.ScalarEvent) -> Value:
        text = str(event.value)
        plain, _ = event.implicit
        if not plain:
            return text
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def _refuse_references(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._refuse(event, "anchors (&) and aliases (*) are not taken", "write the value out")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            self._refuse(event, f"the tag {shown(event.tag)} is not taken", "remove it")

    def _refuse(self, event: yaml.Event, message: str, hint: str = "") -> NoReturn:
        raise PolicyError(message, hint, self._file, _line(event))


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return int(event.start_mark.line) + 1
