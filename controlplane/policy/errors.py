"""What a reader of a bad policy or configuration is told: where, what, and what to do instead."""

import difflib
from collections.abc import Iterable


class PolicyError(Exception):
    """A file that cannot be taken. `line` counts from 1; 0 where the whole file is meant."""

    def __init__(self, message: str, hint: str = "", file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class UnitError(ValueError):
    """A quantity that cannot be read; where it stands is for the caller to say."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for a word that is not one of `known`: the nearest, else all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word[:64], words, n=1)
    return f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(words)}"


def shown(value: object) -> str:
    """A value as a message quotes it: on one line, and short whatever the file holds."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
