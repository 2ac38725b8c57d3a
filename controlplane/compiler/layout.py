"""Kernel types laid out for one kernel: what libbpf does to a CO-RE object, done to the text for bcc.

A sensor declares the few fields it reads, between KERNEL_TYPES and KERNEL_TYPES_END. Here each struct is
written anew with every field where this kernel has it. Pure but for the `Kernel` that is asked.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, Protocol

BLOCK: Final = re.compile(r"^KERNEL_TYPES$(.*?)^KERNEL_TYPES_END$", re.DOTALL | re.MULTILINE)
_STRUCT: Final = re.compile(r"^struct (\w+) \{(.*?)^\};", re.DOTALL | re.MULTILINE)
_ENUM: Final = re.compile(r"^enum (\w+) \{(.*?)^\};", re.DOTALL | re.MULTILINE)
_TYPEDEF: Final = re.compile(r"^typedef \w+ \(\*(\w+)\)\(([^;]*)\);", re.MULTILINE)
_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_FIELD: Final = re.compile(r"(?s:.*?)(\w+)\s*(?:\[\w+\]\s*)*")
MARK: Final = "reflexarc_type"
"""A member of no size in every struct: at its beginning, or at ABSENT when the kernel has no such type."""


Layout = Callable[[str], str]
"""`laid_out` for a kernel."""


class UnreadableTypeError(ValueError):
    """A declaration that is more than a plain field."""


class Kernel(Protocol):
    """Whoever knows the types of the kernel."""

    def has_type(self, name: str) -> bool:
        """Whether there is such a struct."""

    def parameters_of(self, name: str) -> int | None:
        """How many the function takes of which there is a typedef `name`, a pointer to it."""

    def offset_of(self, name: str, field: str) -> int | None:
        """Bytes from its beginning; None when it has no such field."""

    def number_of(self, name: str, enumerator: str) -> int | None:
        """The number of a member of an enumeration; None when there is none."""


def laid_out(source: str, kernel: Kernel) -> str:
    """The source with its kernel types laid out; lines keep their numbers. Raises UnreadableTypeError."""

    def block(found: re.Match[str]) -> str:
        text = _STRUCT.sub(lambda struct: _same_lines(struct[0], _struct(struct, kernel)), found[1])
        text = _ENUM.sub(lambda enum: _same_lines(enum[0], _enum(enum, kernel)), text)
        return _TYPEDEF.sub(lambda typedef: _typedef(typedef, kernel), text)

    return BLOCK.sub(block, source)


def _same_lines(before: str, after: str) -> str:
    return after + "\n" * before.count("\n")


def _struct(found: re.Match[str], kernel: Kernel) -> str:
    """A union of its fields, each behind as many bytes as precede it."""
    declared = found[1]
    name = flavourless(declared)
    members = [_placed(MARK, f"char {MARK}[0]", "0" if kernel.has_type(name) else "ABSENT")]
    for field, text in fields(found[2]):
        offset = kernel.offset_of(name, field)
        members.append(_placed(field, text, "ABSENT" if offset is None else str(offset)))
    return f"struct {declared} {{ union {{ {' '.join(members)} }}; }};"


def _typedef(found: re.Match[str], kernel: Kernel) -> str:
    """Of a function; told only whether there is one with as many parameters."""
    name = found[1]
    there = kernel.parameters_of(name) == len(found[2].split(","))
    start = "0" if there else "ABSENT"
    return f"typedef struct {{ {_placed(MARK, f'char {MARK}[0]', start)} }} {name};"


def _placed(field: str, text: str, offset: str) -> str:
    return f"struct {{ char before_{field}[{offset}]; {text}; }} __attribute__((packed));"


def _enum(found: re.Match[str], kernel: Kernel) -> str:
    name = flavourless(found[1])
    members = []
    for text in _plain(found[2]).split(","):
        if enumerator := text.split("=")[0].strip():
            number = kernel.number_of(name, enumerator)
            members.append(f"{enumerator} = {'ABSENT' if number is None else number}")
    return f"enum {found[1]} {{ {', '.join(members)} }};"


def flavourless(name: str) -> str:
    """`request___old` -> `request`: what follows three underscores tells flavours apart, as in libbpf."""
    return name.partition("___")[0]


def fields(body: str) -> Iterator[tuple[str, str]]:
    """Name and declaration of each field of a struct. Raises UnreadableTypeError."""
    for text in _plain(body).split(";"):
        declaration = " ".join(text.split())
        if not declaration:
            continue
        found = _FIELD.fullmatch(declaration)
        if found is None or any(sign in declaration for sign in ":,(){}"):
            raise UnreadableTypeError(f"`{declaration}` is no plain field: one name, no bits, no nesting")
        yield found[1], declaration


def _plain(text: str) -> str:
    return _COMMENT.sub("", text)
