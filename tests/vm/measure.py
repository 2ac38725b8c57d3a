"""What runs in the guest instead of tests: one benchmark. What it prints is on the console, and told whole.

`python -m tests.vm.measure PORT NAME COUNT ONLY`; a COUNT of 0 is the benchmark's own, an empty ONLY is all.
"""

import subprocess
import sys
import time
from typing import Final

from tests.vm.guest import Port, host
from tests.vm.results import End, Outcome, Ran

PATIENCE: Final = 4
"""An emulated program takes some ten times as long, of which most waits have enough to spare."""


def measured(name: str, count: str, only: str) -> Ran:
    """The benchmark from beginning to end."""
    options = ("--count", count, "--only", only, "--patience", str(PATIENCE))
    command = (sys.executable, "-m", "tests.bench", name, *options)
    begun, lines = time.monotonic(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as bench:
        assert bench.stdout is not None
        for line in bench.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    outcome: Outcome = "failed" if bench.returncode else "passed"
    return Ran(f"tests/bench/{name}.py", outcome, time.monotonic() - begun, "".join(lines))


def main() -> None:
    """A crash of this program shows as a missing end."""
    path, name, count, only = sys.argv[1:]
    port = Port(path)
    port.tell(host())
    port.tell(measured(name, count, only))
    port.tell(End(time.clock_gettime(time.CLOCK_BOOTTIME)))


if __name__ == "__main__":
    main()
