"""Runs benchmarks: `python -m tests.bench [NAME ...]`; without a name, all of them one after the other.

A benchmark is a module here with `main(options) -> int`, which prints a table and, last, one JSON line.
"""

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path

from tests.bench.report import Options
from tests.bench.testbed import CannotMeasureError


def names() -> list[str]:
    """Benchmarks there are."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return [file.stem for file in files if "\ndef main(options: Options) -> int:" in file.read_text()]


def main() -> int:
    """Exit codes: 0 all ran, 1 one failed, 2 no such benchmark."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(names())}; all without")
    parser.add_argument("--count", type=int, default=0, help="reflexes, runs or rounds")
    parser.add_argument("--seconds", type=int, default=0, help="length of what takes time")
    parser.add_argument("--only", default="", metavar="NAME,...", help="of what is compared, just these")
    parser.add_argument("--patience", type=int, default=1, help="how many times slower this machine is")
    given = parser.parse_args()
    if unknown := sorted(set(given.name) - set(names())):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(names())}")
    only = tuple(filter(None, given.only.split(",")))
    options = Options(given.count, given.seconds, only, given.patience)
    results = [run(name, options) for name in given.name or names()]
    return 1 if any(results) else 0


def run(name: str, options: Options) -> int:
    """One benchmark; one that cannot run says why."""
    print(f"== {name}", flush=True)
    try:
        return int(import_module(f"tests.bench.{name}").main(options))
    except CannotMeasureError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
