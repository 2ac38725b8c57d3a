"""The house rules themselves: each of them sees what it is for, and passes what is right."""

import ast
from pathlib import PurePath

import pytest

from tests.lint.hot_path import hot_path_problems
from tests.lint.layout import MAX_LINES, layout_problems


def problems_in_body(body: str) -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    source = f"import os\ndef cold(): ...\ndef must_other(): ...\ndef must_feel(x):\n{lines}"
    return list(hot_path_problems({"m": ast.parse(source)}, {}, {}))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("print(x)", "calls print()"),
        ("y = f'{x}'", "builds text"),
        ("y = 'a' + x", "builds text"),
        ("y = '%d' % x", "builds text"),
        ("y = ','.join(x)", "calls .join()"),
        ("y = [x]", "builds a list"),
        ("y = {x: 1}", "builds a dict"),
        ("y = [i for i in x]", "builds a list"),
        ("y = sum(i for i in x)", "builds a generator"),
        ("y = lambda: x", "defines a function"),
        ("def y(): ...", "defines a function"),
        ("import time", "imports"),
        ("logging.info(x)", "uses logging"),
        ("try:\n    x()\nexcept Exception:\n    pass", "catches everything"),
        ("try:\n    x()\nexcept:\n    pass", "catches everything"),
        ("cold()", "calls cold(), which does not promise"),
        ("x.cold()", "calls .cold(), which does not promise"),
        ("yield x", "is a generator"),
    ],
)
def test_hot_path_rule_sees(body: str, problem: str) -> None:
    found = problems_in_body(body)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    "body",
    [
        "return (x, 1)",
        "must_other()",
        "x.must_other()",
        "x.append(1)",
        "y = x.get(1)",
        "os.write(1, x)",
        "try:\n    x()\nexcept BlockingIOError:\n    pass",
        "raise ValueError(f'{x} is none')",
        "match x:\n    case [1, 2]:\n        pass",
    ],
)
def test_hot_path_rule_passes(body: str) -> None:
    assert problems_in_body(body) == []


def test_imported_function_of_ours_needs_the_prefix() -> None:
    sources = {
        "a": ast.parse("from controlplane.b import slow\ndef must_feel(): slow()"),
        "b": ast.parse("def slow(): ..."),
    }
    assert [*hot_path_problems(sources, {}, {})] == [
        "a:2: must_feel calls slow(), which does not promise to be must_"
    ]


def test_hot_module_wants_the_prefix_everywhere() -> None:
    tree = ast.parse(
        "class A:\n    def __init__(self): ...\n    def feel(self): ...\n    def close(self): ..."
    )
    found = [*hot_path_problems({"m": tree}, {"m": {"close", "gone"}}, {})]
    assert found == [
        "m:3: feel runs per event and lacks must_, or is to be listed as cold",
        "m: gone is listed as cold and does not exist",
    ]


def test_rare_function_may_be_called_and_must_exist() -> None:
    tree = ast.parse("def once(): ...\ndef must_feel(): once()")
    found = [*hot_path_problems({"m": tree}, {}, {"once", "gone"})]
    assert found == ["gone is listed as rare and does not exist"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.py", "x = 1\n" * (MAX_LINES + 1), "split it"),
        ("file_utils.py", "", "says nothing"),
        ("manager.py", "", "says nothing"),
    ],
)
def test_layout_rule_sees(name: str, text: str, problem: str) -> None:
    found = [*layout_problems(PurePath(name), text)]
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(("name", "text"), [("__init__.py", ""), ("ring.py", "x = 1\n" * MAX_LINES)])
def test_layout_rule_passes(name: str, text: str) -> None:
    assert [*layout_problems(PurePath(name), text)] == []
