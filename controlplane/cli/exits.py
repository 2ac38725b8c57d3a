"""How a command ends: the exit codes scripts rely on, and the one exception that carries them."""

import argparse
from enum import IntEnum
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001, no public name


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BAD_POLICY = 3
    """Configuration as well."""
    REFUSED = 4
    UNREACHABLE = 5


class CliError(Exception):
    """Ends the command with a message, what to do about it, and an exit code."""

    def __init__(self, message: str, hint: str = "", exit: Exit = Exit.FAILED) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit = exit

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message
