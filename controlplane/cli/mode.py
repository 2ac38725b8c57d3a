"""`reflexarc mode`: what the daemon, or one policy, may do."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `mode`."""
    parser = subparsers.add_parser("mode", help="set the mode of the daemon or of one policy")
    parser.add_argument(
        "mode", nargs="?", choices=("enforce", "observe", "off"), help="without it, the mode is told"
    )
    parser.add_argument("--policy", default="", metavar="NAME", help="of this policy, not of the daemon")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Set the mode, or tell it."""
    with connected(args) as client:
        if args.mode:
            client.set_mode(show.mode_number(args.mode), args.policy)
            mode = args.mode
        elif args.policy:
            found = [one for one in client.policies() if one.policy.name == args.policy]
            if not found:
                raise CliError(f"no policy is called {args.policy}", "`reflexarc policies` names them")
            mode = show.mode_word(found[0].policy.mode)
        else:
            mode = show.mode_word(client.status().mode)
    if args.json:
        show.print_json({"mode": mode, "policy": args.policy})
    else:
        print(f"{args.policy}: {mode}" if args.policy else mode)
    return Exit.DONE
