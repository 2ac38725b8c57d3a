"""House rules on Python files that no linter has: length, a docstring, names that say something.

Pure: takes a path and its text, returns problems.
"""

import ast
from collections.abc import Iterator
from pathlib import PurePath

MAX_LINES = 400
EMPTY_WORDS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "handler", "misc"})
"""A module of this name is where things go that nobody found a place for."""


def layout_problems(path: PurePath, text: str) -> Iterator[str]:
    """What is wrong with one file. An empty file is only a folder's mark and is always right."""
    if not text.strip():
        return
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield f"{path}: {lines} lines; split it past {MAX_LINES}"
    if ast.get_docstring(ast.parse(text)) is None:
        yield f"{path}:1: no docstring: say in 2-5 lines what the module owns, and what it does not"
    for word in EMPTY_WORDS.intersection(path.stem.split("_")):
        yield f"{path}: '{word}' says nothing; name the module by what it does"
