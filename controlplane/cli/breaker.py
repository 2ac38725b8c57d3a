"""`reflexarc breaker`: which are open, and closing one. Nothing else closes it."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `breaker`."""
    parser = subparsers.add_parser("breaker", help="let a policy act again whose breaker is open")
    parser.add_argument("do", nargs="?", choices=("close",), help="without it, those that are open are told")
    parser.add_argument("policy", nargs="?", default="", metavar="POLICY", help="whose")
    parser.add_argument("--node", action="store_true", help="that of the node, with a new budget for all")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Close one, or say which are open."""
    if bool(args.do) != (bool(args.policy) != args.node):
        raise CliError(
            "say whose breaker to close", "`reflexarc breaker close POLICY`, or --node", Exit.USAGE
        )
    with connected(args) as client:
        if args.do:
            client.close_breaker(args.policy)
        opened = [name or "node" for name in client.status().breakers_open]
    if args.json:
        show.print_json({"open": opened})
    elif args.do:
        print(f"the breaker of {args.policy or 'the node'} is closed")
    else:
        print("\n".join(opened) or "none is open")
    return Exit.DONE
