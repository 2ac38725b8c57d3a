"""`reflexarc check`: whether policy and configuration files would be taken, without a daemon or root."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from controlplane.cli.exits import Exit, Subparsers
from controlplane.link.signals import BY_NAME, Known, known_with
from controlplane.policy.compile import compile_policies
from controlplane.policy.document import documents
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import (
    PolicyDocument,
    config_from,
    is_config,
    policy_files,
    policy_from,
    read_bytes,
)
from controlplane.policy.sensors import DEFAULT_FOLDER, user_sensors


@dataclass(frozen=True)
class Good:
    """A file that would be taken, and what it holds."""

    file: str
    kind: Literal["Config", "Policy"]
    policies: tuple[PolicyDocument, ...] = ()

    def names(self) -> list[str]:
        """Names of its policies."""
        return [entry.policy.metadata.name for entry in self.policies]


Result = Good | PolicyError


def add_parser(subparsers: Subparsers) -> None:
    """Options of `check`."""
    parser = subparsers.add_parser("check", help="check policy and configuration files")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file, or a folder of them")
    parser.add_argument(
        "--sensors", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="your own, whose signals to know"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list")


def run(args: argparse.Namespace) -> int:
    """Check every file; 3 if one of them is bad."""
    try:
        own = user_sensors(args.sensors)
    except PolicyError as error:
        results: list[Result] = [error]
    else:
        known = known_with(signal for sensor in own for signal in sensor.signals)
        results = [result for path in args.files for result in check_path(path, known)]
    if args.json:
        print(json.dumps([_as_json(result) for result in results], indent=2))
    else:
        for result in results:
            print(_as_text(result))
    bad = any(isinstance(result, PolicyError) for result in results)
    return Exit.BAD_POLICY if bad else Exit.DONE


def check_path(path: Path, known: Known = BY_NAME) -> Iterator[Result]:
    """What a file holds or why it is refused; for a folder each file, then whether they fit together."""
    if not path.is_dir():
        yield check_file(path, known)
        return
    try:
        results = [check_file(file, known) for file in policy_files(path)]
        yield from results
        entries = [entry for good in results if isinstance(good, Good) for entry in good.policies]
        compile_policies(entries, "", known)
    except PolicyError as error:
        yield error


def check_file(path: Path, known: Known = BY_NAME) -> Result:
    """What one file holds, or why it is refused."""
    file = str(path)
    try:
        found = documents(read_bytes(path), file)
        if len(found) == 1 and is_config(found[0]):
            config_from(found[0])
            return Good(file, "Config")
        policies = tuple(policy_from(document, programs=True) for document in found)
        compile_policies(policies, "", known)
    except PolicyError as error:
        return error
    return Good(file, "Policy", policies)


def _as_text(result: Result) -> str:
    if isinstance(result, PolicyError):
        return str(result)
    if result.kind == "Config":
        return f"{result.file}: ok, configuration"
    names = ", ".join(result.names())
    return f"{result.file}: ok, {f'policy {names}' if names else 'holds nothing'}"


def _as_json(result: Result) -> dict[str, object]:
    if isinstance(result, PolicyError):
        return {
            "file": result.file,
            "ok": False,
            "line": result.line,
            "message": result.message,
            "hint": result.hint,
        }
    return {"file": result.file, "ok": True, "kind": result.kind, "policies": result.names()}
