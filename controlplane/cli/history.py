"""`reflexarc history`: the last reflexes, step by step, in microseconds since the event."""

import argparse
from itertools import islice

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.words import timeline


def add_parser(subparsers: Subparsers) -> None:
    """Options of `history`."""
    parser = subparsers.add_parser("history", help="reflexes so far, step by step")
    parser.add_argument("trace_id", nargs="?", metavar="TRACE_ID", help="only this reflex")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="the last N (default: %(default)s)"
    )
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print reflexes, the newest last."""
    with connected(args) as client:
        if args.trace_id:
            reflexes = [client.reflex(args.trace_id)]
        else:
            reflexes = list(islice(client.reflexes(), max(0, args.limit)))[::-1]
    if args.json:
        show.print_json({"reflexes": [show.plain(reflex) for reflex in reflexes]})
    elif reflexes:
        print("\n\n".join("\n".join(timeline(reflex)) for reflex in reflexes))
    else:
        print("no reflex yet")
    return Exit.DONE
