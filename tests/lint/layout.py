"""House rules on Python files that no linter has: length, and names that say something.

Pure: takes a path and its text, returns problems.
"""

from collections.abc import Iterator
from pathlib import PurePath

MAX_LINES = 400
EMPTY_WORDS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "handler", "misc"})
"""A module of this name is where things go that nobody found a place for."""


def layout_problems(path: PurePath, text: str) -> Iterator[str]:
    """What is wrong with one file."""
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield f"{path}: {lines} lines; split it past {MAX_LINES}"
    for word in EMPTY_WORDS.intersection(path.stem.split("_")):
        yield f"{path}: '{word}' says nothing; name the module by what it does"
