"""Kernel types are laid out as the kernel has them, and a source keeps its lines."""

import pytest

from controlplane.compiler.layout import UnreadableTypeError, fields, flavourless, laid_out

SOURCE = """before
KERNEL_TYPES

/* A comment; with a semicolon. */
struct task {
	int pid; /* its number */
	struct task *parent;
	char comm[16];
	int gone;
};

struct task___old {
	long state;
};

enum reason {
	NONE = 0,
	LOST,
	NEW,
};

typedef void (*btf_trace_old)(void *);
typedef void (*btf_trace_new)(void *, struct task *);

KERNEL_TYPES_END
struct untouched {
	int pid;
};
"""


class Kernel:
    """A kernel with two types."""

    def has_type(self, name: str) -> bool:
        return name == "task"

    def offset_of(self, name: str, field: str) -> int | None:
        return {"pid": 8, "parent": 16, "comm": 24, "state": 0}.get(field) if name == "task" else None

    def parameters_of(self, name: str) -> int | None:
        return {"btf_trace_old": 2, "btf_trace_new": 2}.get(name)

    def number_of(self, name: str, enumerator: str) -> int | None:
        return {"NONE": 0, "LOST": 7}.get(enumerator) if name == "reason" else None


@pytest.fixture
def lines() -> list[str]:
    return laid_out(SOURCE, Kernel()).splitlines()


def test_fields_are_where_the_kernel_has_them(lines: list[str]) -> None:
    struct = lines[4]
    assert struct.startswith("struct task { union { ")
    for placed in (
        "char before_pid[8]; int pid;",
        "char before_parent[16]; struct task *parent;",
        "char before_comm[24]; char comm[16];",
        "char before_gone[ABSENT]; int gone;",
        "char before_reflexarc_type[0]; char reflexarc_type[0];",
    ):
        assert placed in struct


def test_flavours_are_the_same_type(lines: list[str]) -> None:
    assert "struct task___old" in lines[11]
    assert "char before_state[0]; long state;" in lines[11]
    assert flavourless("task___old") == "task"


def test_enumerators_have_the_kernels_numbers(lines: list[str]) -> None:
    assert lines[15] == "enum reason { NONE = 0, LOST = 7, NEW = ABSENT };"


def test_a_typedef_says_only_whether_a_function_takes_as_many(lines: list[str]) -> None:
    assert "char before_reflexarc_type[ABSENT];" in lines[21]
    assert lines[21].endswith("} btf_trace_old;")
    assert "char before_reflexarc_type[0];" in lines[22]


def test_lines_keep_their_numbers_and_all_else_stays(lines: list[str]) -> None:
    before = SOURCE.splitlines()
    assert len(lines) == len(before)
    assert lines[0] == "before"
    assert lines[3] == before[3]
    assert lines[-3:] == before[-3:]


@pytest.mark.parametrize("field", ["unsigned int flag : 1;", "void (*call)(int);", "int a, b;"])
def test_more_than_a_plain_field_is_refused(field: str) -> None:
    with pytest.raises(UnreadableTypeError, match="no plain field"):
        list(fields(field))
