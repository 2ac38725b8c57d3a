"""What images are made with: which modules are found, and what becomes of them."""

import importlib.util
import marshal
import runpy
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

MADE_WITH = Path(__file__).resolve().parents[2] / "deploy/image"
SOURCE = b'''"""Of the module."""

from dataclasses import dataclass


@dataclass
class Kept:
    """Of the class."""


class Bare:
    """Of the other."""

    def method(self) -> int:
        """Of the method."""


def function(value: int) -> int:
    """Of the function."""
    assert value > 0, "not positive"
    return value
'''


def part(name: str) -> dict[str, Any]:
    return runpy.run_path(str(MADE_WITH / f"{name}.py"))


def module(*, told: bool) -> dict[str, Any]:
    """What the bytecode of SOURCE makes."""
    data: bytes = part("bytecode")["compiled"](SOURCE, "/shown.py", told=told)
    assert data.startswith(importlib.util.MAGIC_NUMBER)
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/shown.py"
    made: dict[str, Any] = {"__name__": "made"}
    exec(code, made)
    return made


def test_bytecode_has_no_docstrings_but_where_they_are_read() -> None:
    made = module(told=False)
    assert [made.get("__doc__"), made["function"].__doc__, made["Bare"].__doc__] == [None] * 3
    assert made["Bare"].method.__doc__ is None
    assert made["Kept"].__doc__ == "Of the class."
    assert module(told=True)["__doc__"] == "Of the module."


def test_assertions_stay_with_their_lines() -> None:
    with pytest.raises(AssertionError, match="not positive") as raised:
        module(told=False)["function"](0)
    assert raised.traceback[-1].lineno == SOURCE[: SOURCE.index(b"assert")].count(b"\n")


def test_equal_sources_make_equal_bytes() -> None:
    compiled = part("bytecode")["compiled"]
    assert compiled(SOURCE, "/a.py", told=True) == compiled(SOURCE, "/a.py", told=True)


def test_modules_are_followed_through_imports(tmp_path: Path) -> None:
    sources = {
        "ours/__init__.py": "",
        "ours/one.py": "from pyroute2.netlink import nlmsg\ndef late():\n    import second, pip",
        "pyroute2/__init__.py": "import everything",
        "pyroute2/netlink.py": "nlmsg = 1",
        "second.py": "from multiprocessing import context, pool",
        "multiprocessing/__init__.py": "",
        "multiprocessing/context.py": "",
        "multiprocessing/pool.py": "",
        "everything.py": "",
        "pip.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    closure = part("closure")["Closure"]([tmp_path])
    closure.add_all(tmp_path / "ours")
    found = {str(path.relative_to(tmp_path)) for path in closure.files.values()}
    assert found == sources.keys() - {"everything.py", "pip.py", "multiprocessing/pool.py"}
