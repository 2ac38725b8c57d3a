"""Questions to a compiler, and what its complaints say."""

import pytest

from controlplane.compiler.asking import Declared, UnreadableHeadersError, answers, event_of, text

FIELD = "char (*$)[__builtin_offsetof(struct task, pid)]"
EVENT = "btf_trace_fork $"
SAID = {
    "question:0:8: error: initializing 'char (*)[1192]'": 1192,
    "question:0:8: error: initializing 'char (*)[0]'": 0,
    "question:0:12: error: no member named 'pid' in 'task'": None,
    "question:0:12: error: offsetof of incomplete type 'struct task'": None,
    "question:0:5: error: use of undeclared identifier 'PID'": None,
    "question:0:1: error: unknown type name 'btf_trace_fork'": None,
    "question:0:1: error: initializing 'btf_trace_fork' (aka 'void (*)(void *, struct task *)')": 2,
    "question:0:1: error: initializing 'btf_trace_fork' (aka 'void (*)(void *, int (*)(int, u8), int)')": 3,
}


@pytest.mark.parametrize(("said", "answer"), SAID.items())
def test_what_the_compiler_says_is_the_answer(said: str, answer: int | None) -> None:
    assert answers([FIELD], f"{said}\nquestion:0:9: note: forward declaration\n") == {FIELD: answer}


def test_answers_belong_to_the_lines_of_their_questions() -> None:
    said = "\n".join(f"question:{at}:8: error: initializing 'char (*)[{8 * at}]' with" for at in (2, 0, 1))
    assert answers("abc", said) == {"a": 0, "b": 8, "c": 16}


@pytest.mark.parametrize(
    "said",
    [
        "include/linux/fs.h:7:1: error: static_assert\nquestion:0:8: error: initializing 'char (*)[8]'",
        "fatal error: file 'x.h' not found",
        "question:0:8: error: too many types",
        "",
    ],
    ids=["wrong elsewhere", "not begun", "not understood", "silent"],
)
def test_anything_else_is_no_answer(said: str) -> None:
    with pytest.raises(UnreadableHeadersError):
        answers([FIELD], said)


def test_every_question_is_on_a_line_of_its_own() -> None:
    lines = text(["linux/pid.h"], ["trace/events/sched.h"], [FIELD, EVENT]).splitlines()
    assert lines.index("#include <linux/pid.h>") < lines.index("#include <trace/events/sched.h>")
    assert lines[-4:] == [
        '#line 0 "question"',
        "char (*answer_0)[__builtin_offsetof(struct task, pid)] = (struct reflexarc_question){};",
        '#line 1 "question"',
        "btf_trace_fork answer_1 = (struct reflexarc_question){};",
    ]


def test_without_events_nothing_is_redefined() -> None:
    assert "TRACE" not in text(["linux/pid.h"], [], [FIELD])


def test_what_was_asked_can_be_asked_again_with_the_answers() -> None:
    before = Declared()
    assert (before.has_type("task"), before.offset_of("task", "pid")) == (False, None)
    assert (before.number_of("kind", "ONE"), before.parameters_of("btf_trace_fork")) == (None, None)
    assert set(before.asked.values()) == {"task", "kind", "btf_trace_fork"}
    after = Declared(dict(zip(before.asked, (64, 8, 1, 2), strict=True)))
    assert (after.has_type("task"), after.offset_of("task", "pid")) == (True, 8)
    assert (after.number_of("kind", "ONE"), after.parameters_of("btf_trace_fork")) == (1, 2)
    assert after.offset_of("task", "tgid") is None


def test_events_are_told_from_other_types() -> None:
    assert event_of("trace_event_raw_kfree_skb") == "kfree_skb"
    assert event_of("btf_trace_block_rq_issue") == "block_rq_issue"
    assert event_of("task_struct") == ""
