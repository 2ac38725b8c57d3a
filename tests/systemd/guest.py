"""What runs in a guest that systemd has started: tests of the unit, each result told at once.

`python -m tests.systemd.guest PORT TESTS`: the serial port for tests/vm/results.py, and what pytest is to
run, separated by commas.
"""

import sys
import time

from tests.vm.guest import Port, host, run_tests
from tests.vm.results import End

OPTIONS = ("-q", "--color=no", "-p", "no:cacheprovider", "--patience", "6")


def main() -> None:
    """All of it; a crash of this program shows as a missing end."""
    path, tests = sys.argv[1:]
    port = Port(path)
    port.tell(host())
    run_tests(port, OPTIONS, *tests.split(","))
    port.tell(End(time.clock_gettime(time.CLOCK_BOOTTIME)))


if __name__ == "__main__":
    main()
