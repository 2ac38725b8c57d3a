"""`reflexarc top`: live, what is felt, what fired, and what was or would have been done.

Away from a terminal it prints lines as `watch` does, so that it can be piped and needs no package for it.
"""

import argparse
import sys
from contextlib import suppress

from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.cli.watch import follow


def add_parser(subparsers: Subparsers) -> None:
    """Options of `top`."""
    parser = subparsers.add_parser("top", help="live view of what is felt and done")
    parser.add_argument("--wait", action="store_true", help="until the daemon is up, instead of failing")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show until interrupted, which is how a view ends well, or until the daemon does."""
    with connected(args) as client:
        if args.wait:
            client.wait()
        if args.json or not sys.stdout.isatty():
            follow(client, as_json=args.json)
            return Exit.DONE
        try:
            from controlplane.cli.screen import show
        except ModuleNotFoundError as error:
            hint = "pip install 'reflexarc[cli]', or use `reflexarc watch`"
            raise CliError(f"a live view needs the Python package {error.name}", hint) from None
        with suppress(KeyboardInterrupt):
            show(client)
    return Exit.DONE
