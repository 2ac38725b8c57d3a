"""`reflexarc undo`: takes acts in force back, now."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `undo`."""
    parser = subparsers.add_parser("undo", help="undo acts in force now")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("trace_id", nargs="?", metavar="TRACE_ID", help="what this reflex has in force")
    what.add_argument("--all", action="store_true", help="everything in force")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Undo, and say how many acts that were."""
    with connected(args) as client:
        undone = client.undo_all() if args.all else client.undo(args.trace_id)
    if args.json:
        show.print_json(show.plain(undone))
    else:
        print(f"{undone.undone} undone")
    return Exit.DONE
