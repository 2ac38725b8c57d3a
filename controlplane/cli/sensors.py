"""`reflexarc sensors`: what feels, what it costs, what it lost."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Options of `sensors`."""
    add_client_options(subparsers.add_parser("sensors", help="what feels, what it costs and what it lost"))


def run(args: argparse.Namespace) -> int:
    """Print every sensor."""
    with connected(args) as client:
        sensors = client.sensors()
    if args.json:
        show.print_json({"sensors": [show.plain(sensor) for sensor in sensors]})
        return Exit.DONE
    head = ("SENSOR", "FEELS", "SEEN", "EMITTED", "LOST", "NS/RUN", "SIGNALS")
    rows = [
        (
            sensor.name,
            "yes" if sensor.attached else f"no: {sensor.reason}",
            sensor.seen,
            sensor.emitted,
            sum(sensor.lost.values()),
            sensor.run_ns // sensor.runs if sensor.runs else "-",
            " ".join(sensor.signals),
        )
        for sensor in sensors
    ]
    print(show.table(head, rows))
    return Exit.DONE
