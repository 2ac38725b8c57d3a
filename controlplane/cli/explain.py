"""`reflexarc explain`: why a reflex began, what led to it, who is suspected and what was done."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.explanation import explanation


def add_parser(subparsers: Subparsers) -> None:
    """Options of `explain`."""
    parser = subparsers.add_parser("explain", help="why a reflex began, and what led to it")
    parser.add_argument("trace_id", metavar="TRACE_ID", help="of the reflex; the first four digits may do")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the whole story of one reflex."""
    with connected(args) as client:
        explained = client.explain(args.trace_id.lower())
    if args.json:
        show.print_json(show.plain(explained))
    else:
        print("\n".join(explanation(explained)))
    return Exit.DONE
