"""Entry point of `reflexarc`: finds the command, imports its module alone, turns errors into exit codes."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from controlplane import __version__
from controlplane.cli.exits import CliError, Exit
from controlplane.policy.errors import PolicyError

COMMANDS: Final = {
    "run": "start the daemon",
    "check": "check policy and configuration files",
    "doctor": "say what this host offers",
    "status": "how the daemon is",
    "health": "health of its components",
    "top": "live view of what is felt and done",
    "watch": "follow findings, reflexes and losses",
    "sensors": "what feels, what it costs and what it lost",
    "streams": "signals by cgroup",
    "policies": "policies in force",
    "apply": "put policies in force",
    "breaker": "let a policy act again whose breaker is open",
    "mode": "set the mode of the daemon or of one policy",
    "history": "reflexes so far, step by step",
    "explain": "why a reflex began, and what led to it",
    "act": "do one act by hand",
    "undo": "undo acts in force now",
    "table": "from what is felt to what is done about it",
    "pki": "certificates for management over TLS",
    "record": "write what is felt to a file, for replay",
    "replay": "run policies over recorded values",
}
"""Command, which is also the name of its module, and its line of help."""

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except CliError as error:
        print(f"reflexarc: {error}", file=sys.stderr)
        return error.exit
    except PolicyError as error:
        print(f"reflexarc: {error}", file=sys.stderr)
        return Exit.BAD_POLICY
    except BrokenPipeError:
        # the reader left, as `| head` does; nothing more may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="reflexarc", description="A node's reflex arc.")
    parser.add_argument("--version", action="version", version=f"reflexarc {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = words[0] if words and words[0] in COMMANDS else None
    module = _module(chosen) if chosen else None
    for name, line in COMMANDS.items():
        if module is not None and name == chosen:
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line)
    parsed = parser.parse_args(words)
    assert module is not None, "argparse refuses whatever is not a command"
    return int(module.run(parsed))


def _module(command: str) -> ModuleType:
    name = f"controlplane.cli.{command}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            hint = "pip install 'reflexarc[cli]'"
            raise CliError(f"`{command}` needs the Python package {error.name}", hint) from None
        raise CliError(f"`{command}` is not part of this installation") from None


if __name__ == "__main__":
    sys.exit(main())
