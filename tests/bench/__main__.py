"""Runs benchmarks: `python -m tests.bench [NAME]`; without a name, all of them one after the other.

A benchmark is a module here with `main() -> int`, which prints a table and, last, one JSON line.
"""

import sys
from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    """Benchmarks there are."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return [file.stem for file in files if "\ndef main() -> int:" in file.read_text()]


def main(wanted: list[str]) -> int:
    """Exit codes: 0 all ran, 1 one failed, 2 no such benchmark."""
    if unknown := sorted(set(wanted) - set(names())):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    results = [import_module(f"tests.bench.{name}").main() for name in wanted or names()]
    return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
