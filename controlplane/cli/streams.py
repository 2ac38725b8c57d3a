"""`reflexarc streams`: signals by cgroup, the busiest first."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.words import quantity
from controlplane.link.container import container_of


def add_parser(subparsers: Subparsers) -> None:
    """Options of `streams`."""
    parser = subparsers.add_parser("streams", help="signals by cgroup")
    parser.add_argument("--signal", default="", metavar="NAME", help="only this signal")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print every stream."""
    with connected(args) as client:
        found = [one for one in client.streams() if args.signal in ("", one.signal)]
    found.sort(key=lambda stream: -stream.count)
    if args.json:
        plain = [show.plain(stream) | container_of(stream.of.path)._asdict() for stream in found]
        show.print_json({"streams": plain})
        return Exit.DONE
    head = ("SIGNAL", "EVENTS", "LAST", "PEAK", "CGROUP", "POLICIES")
    rows = [
        (
            stream.signal,
            stream.count,
            quantity(stream.last, stream.signal, stream.unit),
            quantity(stream.peak, stream.signal, stream.unit),
            stream.of.path,
            " ".join(stream.policies),
        )
        for stream in found
    ]
    print(show.table(head, rows))
    return Exit.DONE
