"""`reflexarc health`: how the components fare, asked on the health port as an orchestrator would."""

import argparse
from collections.abc import Mapping

from controlplane.cli import show
from controlplane.cli.client_options import explained, quiet_grpc
from controlplane.cli.exits import CliError, Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `health`."""
    parser = subparsers.add_parser("health", help="health of its components")
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one")
    parser.add_argument(
        "--health", default="127.0.0.1:9465", metavar="HOST:PORT", help="default: %(default)s"
    )
    parser.add_argument("--watch", action="store_true", help="follow every change of it")
    parser.add_argument("--json", action="store_true", help="for machines: one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print health; 1 where the daemon, or the component asked for, does not serve."""
    quiet_grpc()
    from controlplane.client import HealthClient

    with HealthClient(args.health) as client, explained("--health names another daemon's port"):
        if args.watch:
            for status in client.watch(args.component or ""):
                _print(args, {args.component or "": status}, indent=None)
            return Exit.DONE
        components = client.components()
    asked = args.component or ""
    if asked not in components:
        raise CliError(f"no component is called {asked}", f"there are {', '.join(filter(None, components))}")
    _print(args, {asked: components[asked]} if asked else components)
    return Exit.DONE if components[asked] == "serving" else Exit.FAILED


def _print(args: argparse.Namespace, components: Mapping[str, str], *, indent: int | None = 2) -> None:
    if args.json:
        show.print_json({"components": components}, indent=indent)
    else:
        width = max(map(len, (*components, "daemon")))
        for name, status in components.items():
            print(f"{name or 'daemon':{width}}  {status.replace('_', ' ')}", flush=True)
