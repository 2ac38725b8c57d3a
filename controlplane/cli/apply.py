"""`reflexarc apply`: puts the policies of files in force until the daemon restarts."""

import argparse
import sys
from pathlib import Path

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `apply`."""
    parser = subparsers.add_parser("apply", help="put policies in force")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a policy file; - reads standard input")
    parser.add_argument("--dry-run", action="store_true", help="have the daemon check and change nothing")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Apply file by file; the first that is refused ends it."""
    contents = [(name, _read(name)) for name in args.files]
    with connected(args) as client:
        # All files are checked before the first one changes anything.
        checked = [client.apply(data, name, dry_run=True) for name, data in contents]
        if not args.dry_run:
            checked = [client.apply(data, name) for name, data in contents]
    applied = [policy for policies in checked for policy in policies]
    if args.json:
        show.print_json({"dry_run": args.dry_run, "policies": [show.plain(one) for one in applied]})
        return Exit.DONE
    for one in applied:
        would = "would be applied" if args.dry_run else "applied"
        print(f"{one.policy.name}: {would} ({one.effect}), mode {show.mode_word(one.policy.mode)}")
    return Exit.DONE


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}", exit=Exit.BAD_POLICY) from None
