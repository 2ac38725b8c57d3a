"""Kernel types learnt from a compiler that reads real headers: questions to it, and its answers. Pure.

Each question is a line of C that cannot compile, and what the compiler complains of is the answer: with
"initializing 'char (*)[1192]'" it has worked out an offset, with "no member named" there is none. So one
text asks everything at once, and what is absent spoils nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_QUESTION: Final = "question"
_WRONG: Final = "(struct reflexarc_question){}"
_TOLD: Final = re.compile(rf"^{_QUESTION}:(\d+):\d+: error: (.*)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^.*(?:: fatal error: |: error: |^error: ).*$", re.MULTILINE)
_NUMBER: Final = re.compile(r"initializing 'char \(\*\)\[(\d+)\]'")
_FUNCTION: Final = re.compile(r"\(aka '[^']*?\(\*\)\((.*)\)'\)")
_NESTED: Final = re.compile(r"\([^()]*\)")
_NONE: Final = ("no member named", "incomplete type", "undeclared identifier", "unknown type name")
_BEGIN: Final = "#undef _UAPI__LINUX_BPF_H__\n#include <linux/sched.h>\nstruct reflexarc_question {};"
"""bcc's own idea of the kernel's interface, which is that of another version, is left out by FLAGS."""
FLAGS: Final = (
    *("-w", "-ferror-limit=0", "-fno-caret-diagnostics", "-fno-color-diagnostics", "-fms-extensions"),
    *("-D__BPF_HELPERS_H", "-D_UAPI__LINUX_BPF_H__", "-DCC_USING_FENTRY"),
)
_EVENTS: Final = """\
#include <linux/trace_events.h>
#include <linux/tracepoint.h>
#define TRACE_HEADER_MULTI_READ
#undef DECLARE_EVENT_CLASS
#undef DEFINE_EVENT
#undef TRACE_EVENT
#undef TP_PROTO
#undef TP_ARGS
#undef TP_STRUCT__entry
#define DECLARE_EVENT_CLASS(name, proto, args, fields, ...) \\
	struct trace_event_raw_##name { struct trace_entry ent; fields };
#define DEFINE_EVENT(class, name, proto, ...) typedef void (*btf_trace_##name)(void *, proto);
#define TRACE_EVENT(name, proto, args, fields, ...) \\
	DECLARE_EVENT_CLASS(name, TP_PROTO(proto), TP_ARGS(args), TP_STRUCT__entry(fields)) \\
	DEFINE_EVENT(name, name, TP_PROTO(proto))
#define TP_PROTO(args...) args
#define TP_ARGS(args...) args
#define TP_STRUCT__entry(args...) args
#define __field(type, item) type item;
#define __field_ext(type, item, ...) type item;
#define __field_struct(type, item) type item;
#define __field_struct_ext(type, item, ...) type item;
#define __array(type, item, length) type item[length];
#define __dynamic_array(type, item, ...) u32 __data_loc_##item;
#define __string(item, ...) u32 __data_loc_##item;
"""
"""What include/trace/trace_events.h makes of an event besides code."""


class UnreadableHeadersError(Exception):
    """The compiler stumbled over something other than a question."""


class Declared:
    """A `Kernel` that knows what it has been told, and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, int | None] | None = None) -> None:
        self._answers = answers or {}
        self.asked: dict[str, str] = {}
        """A declaration of `$` that answers it -> the type it is about."""

    def has_type(self, name: str) -> bool:
        """See `Kernel`."""
        return self._ask(f"char (*$)[sizeof(struct {name})]", name) is not None

    def parameters_of(self, name: str) -> int | None:
        """See `Kernel`; of tracepoints only."""
        return self._ask(f"{name} $", name)

    def offset_of(self, name: str, field: str) -> int | None:
        """See `Kernel`."""
        return self._ask(f"char (*$)[__builtin_offsetof(struct {name}, {field})]", name)

    def number_of(self, name: str, enumerator: str) -> int | None:
        """See `Kernel`."""
        return self._ask(f"char (*$)[(unsigned int){enumerator}]", name)

    def _ask(self, question: str, name: str) -> int | None:
        self.asked[question] = name
        return self._answers.get(question)


def event_of(name: str) -> str:
    """The tracepoint, or class of them, for which the kernel makes a type of that name; empty for others."""
    for prefix in ("trace_event_raw_", "btf_trace_"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return ""


def text(types: Iterable[str], events: Iterable[str], questions: Iterable[str]) -> str:
    """What to give the compiler; `types` and `events` are headers."""
    lines = [_BEGIN, *(f"#include <{header}>" for header in types)]
    if events := list(events):
        lines += [_EVENTS, *(f"#include <{header}>" for header in events)]
    for at, question in enumerate(questions):
        lines += [f'#line {at} "{_QUESTION}"', f"{question.replace('$', f'answer_{at}')} = {_WRONG};"]
    return "\n".join([*lines, ""])


def answers(questions: Iterable[str], said: str) -> dict[str, int | None]:
    """By question; None for what is not there. Raises UnreadableHeadersError."""
    told: dict[int, str] = {}
    for error in _ERROR.findall(said):
        found = _TOLD.fullmatch(error)
        if found is None:
            raise UnreadableHeadersError(error)
        told.setdefault(int(found[1]), found[2])
    return {question: _answer(question, told.get(at, "no answer")) for at, question in enumerate(questions)}


def _answer(question: str, told: str) -> int | None:
    if found := _NUMBER.search(told):
        return int(found[1])
    if found := _FUNCTION.search(told):
        return _parameters(found[1])
    if any(words in told for words in _NONE):
        return None
    raise UnreadableHeadersError(f"{question}: {told}")


def _parameters(text: str) -> int:
    """How many there are in the text between the parentheses; some may be functions."""
    while (shorter := _NESTED.sub("", text)) != text:
        text = shorter
    return text.count(",") + 1
