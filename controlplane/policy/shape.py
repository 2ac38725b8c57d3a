"""Plain values into structs, with errors said in the words of the file instead of Python's.

Pure. Reads the path and the reason out of msgspec's message, and the known words out of the struct's type.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from controlplane.policy.document import Document
from controlplane.policy.errors import PolicyError, UnitError, shown, suggest

T = TypeVar("T")

_PATH: Final = re.compile(r"(?P<message>.*?)(?: - at (?:`key` in )?`(?P<path>\$[^`]*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_TYPE: Final = re.compile(r"Expected `(.*)`, got `(.*)`")
_BOUND: Final = re.compile(r"Expected `(.*)` ([<>]=? .*)")
_CHOICE: Final = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
_STEP: Final = re.compile(r"\.(\w+)|\[[^]]*\]")
_NAMES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number that is not whole",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def shaped(document: Document, type_: type[T], dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """The document as `type_`. Raises PolicyError with the line of what does not fit."""
    try:
        return msgspec.convert(document.value, type_, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        raise _explained(error, document, type_) from None


def _explained(error: msgspec.ValidationError, document: Document, type_: type) -> PolicyError:
    found = _PATH.fullmatch(str(error))
    assert found is not None
    message, path = found["message"], found["path"] or "$"
    where = shown_path(path)
    if isinstance(error.__cause__, UnitError):
        return document.error(path, f"{where}: {message}", error.__cause__.hint)
    if unknown := _UNKNOWN.fullmatch(message):
        hint = suggest(unknown[1], _fields_at(type_, path, _value_at(document.value, path)))
        return document.error(f"{path}.{unknown[1]}", f"unknown key {shown(unknown[1])} in {where}", hint)
    if missing := _MISSING.fullmatch(message):
        return document.error(path, f"`{missing[1]}` is missing in {where}")
    if mismatch := _TYPE.fullmatch(message):
        return document.error(path, f"{where} must be {_named(mismatch[1])}, not {_named(mismatch[2])}")
    if bound := _BOUND.fullmatch(message):
        return document.error(path, f"{where} must be {_named(bound[1])} {bound[2]}")
    if choice := _CHOICE.fullmatch(message):
        hint = suggest(choice[1].strip("'"), _choices_at(type_, path))
        return document.error(path, f"{where} cannot be {shown(choice[1].strip(chr(39)))}", hint)
    return document.error(path, f"{where}: {message}")


def shown_path(path: str) -> str:
    """A path as messages name it: `spec.ladder[0]`, and `the document` for the whole."""
    return path.removeprefix("$").removeprefix(".") or "the document"


def _named(types: str) -> str:
    return " or ".join(_NAMES.get(name, name) for name in types.split(" | ") if name != "null") or "empty"


def _fields_at(type_: type, path: str, value: object) -> list[str]:
    """Known keys; where a key says which of several structs is meant, those of that one."""
    return [
        field.encode_name
        for part in _types_at(type_, path)
        if isinstance(part, inspect.StructType) and _is_meant(part, value)
        for field in part.fields
    ]


def _is_meant(part: inspect.StructType, value: object) -> bool:
    return part.tag_field is None or (isinstance(value, dict) and value.get(part.tag_field) == part.tag)


def _choices_at(type_: type, path: str) -> list[str]:
    around, _, key = path.rpartition(".")
    return [
        *(
            str(value)
            for part in _types_at(type_, path)
            if isinstance(part, inspect.LiteralType)
            for value in part.values
        ),
        *(
            str(part.tag)
            for part in _types_at(type_, around)
            if isinstance(part, inspect.StructType) and part.tag_field == key
        ),
    ]


def _value_at(value: object, path: str) -> object:
    """The mapping at a path that has no list in it, as those of tagged structs; None elsewhere."""
    for step in _STEP.finditer(path):
        value = value.get(step[1]) if isinstance(value, dict) else None
    return value


def _types_at(type_: type, path: str) -> list[inspect.Type]:
    """The types a value at that path may have, unions taken apart."""
    types = list(_alternatives(inspect.type_info(type_)))
    for step in _STEP.finditer(path):
        types = [
            part for outer in types for inner in _inside(outer, step[1]) for part in _alternatives(inner)
        ]
    return types


def _alternatives(type_: inspect.Type) -> Iterator[inspect.Type]:
    yield from type_.types if isinstance(type_, inspect.UnionType) else (type_,)


def _inside(type_: inspect.Type, field: str | None) -> Iterator[inspect.Type]:
    match type_:
        case inspect.StructType(fields=fields):
            yield from (known.type for known in fields if known.encode_name == field)
        case inspect.VarTupleType(item_type=item):
            yield item
