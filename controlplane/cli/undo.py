"""`reflexarc undo`: takes acts in force back, now; with --offline those that a dead daemon has left."""

import argparse
from pathlib import Path

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `undo`."""
    parser = subparsers.add_parser("undo", help="undo acts in force now")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("trace_id", nargs="?", metavar="TRACE_ID", help="what this reflex has in force")
    what.add_argument("--all", action="store_true", help="everything in force")
    parser.add_argument("--offline", action="store_true", help="without a daemon: what a dead one has left")
    parser.add_argument("--config", type=Path, metavar="FILE", help="with --offline, of that daemon")
    parser.add_argument("--runtime-dir", metavar="DIR", help="with --offline, instead of the configured one")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Undo, and say how many acts that were."""
    if args.offline:
        return _offline(args)
    with connected(args) as client:
        undone = client.undo_all() if args.all else client.undo(args.trace_id)
    if args.json:
        show.print_json(show.plain(undone))
    else:
        print(f"{undone.undone} undone")
    return Exit.DONE


def _offline(args: argparse.Namespace) -> int:
    from controlplane.cli.offline import take_back_all, words_of

    if not args.all:
        raise CliError("--offline undoes everything", "`reflexarc undo --all --offline`", Exit.USAGE)
    undone = take_back_all(args.config, args.runtime_dir)
    if args.json:
        acts = [
            {"act": each.act, "path": each.path, "pid": each.pid, "ok": each.ok, "error": each.error}
            for each in undone
        ]
        show.print_json({"undone": len(undone), "acts": acts})
    else:
        print("\n".join([*map(words_of, undone), f"{len(undone)} undone"]))
    return Exit.DONE if all(each.ok for each in undone) else Exit.FAILED
