"""`reflexarc watch`: findings, steps, losses and notices as they are journalled, one a line."""

import argparse
from typing import TYPE_CHECKING

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.words import event_line

if TYPE_CHECKING:
    from controlplane.client import Client


def add_parser(subparsers: Subparsers) -> None:
    """Options of `watch`."""
    parser = subparsers.add_parser("watch", help="follow findings, reflexes and losses")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Follow until interrupted, or until the daemon ends."""
    with connected(args) as client:
        follow(client, as_json=args.json)
    return Exit.DONE


def follow(client: "Client", *, as_json: bool) -> None:
    """Print one line for each thing told."""
    for event in client.watch():
        if as_json:
            show.print_json(show.plain(event), indent=None)
        else:
            print(event_line(event), flush=True)
