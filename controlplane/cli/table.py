"""`reflexarc table`: the mapping table, from what is felt to what is done, without a daemon or root."""

import argparse
from pathlib import Path

import msgspec

from controlplane.cli import show
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.link.signals import known_with
from controlplane.policy.compile import DEFAULT_FOLDER
from controlplane.policy.errors import suggest
from controlplane.policy.sensors import DEFAULT_FOLDER as SENSORS
from controlplane.policy.sensors import user_sensors
from controlplane.policy.table import Row, page, rows, section

HEAD = ("POLICY", "MODE", "SIGNAL", "FELT BY", "STATISTIC", "TEST", "FALSE ALARMS", "LADDER", "WHERE")


def add_parser(subparsers: Subparsers) -> None:
    """Options of `table`."""
    parser = subparsers.add_parser("table", help="from what is felt to what is done about it")
    parser.add_argument("policy", nargs="?", default="", metavar="NAME", help="why this policy is as it is")
    parser.add_argument("--policies", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="your own")
    parser.add_argument("--sensors", type=Path, default=SENSORS, metavar="DIR", help="your own")
    parser.add_argument("--no-defaults", action="store_true", help="without the default table")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, with all that is known")
    form.add_argument("--markdown", action="store_true", help="as a page")


def run(args: argparse.Namespace) -> int:
    """Print the table, or what there is to say of one row."""
    known = known_with(signal for sensor in user_sensors(args.sensors) for signal in sensor.signals)
    table = rows(args.policies, known, defaults=not args.no_defaults)
    if args.policy:
        table = (_named(args.policy, table),)
    if args.json:
        show.print_json({"table": msgspec.to_builtins(table)})
    elif args.markdown:
        print(page(table), end="")
    elif args.policy:
        print("\n".join(section(table[0])))
    else:
        print(show.table(HEAD, map(_cells, table)))
    return Exit.DONE


def _named(name: str, table: tuple[Row, ...]) -> Row:
    for row in table:
        if row.policy == name:
            return row
    raise CliError(f"no policy `{name}`", suggest(name, [row.policy for row in table]))


def _cells(row: Row) -> tuple[str, ...]:
    felt = row.hooks[0] if row.hooks else row.sensor
    what = (row.policy, row.mode, row.signal, felt, row.statistic, row.test)
    return (*what, row.false_alarms, row.ladder, row.where)
