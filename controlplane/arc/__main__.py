"""`python -m controlplane.arc --boot-fd N`: what the launcher becomes."""

import os
import sys

import msgspec

from controlplane.arc.daemon import Arc
from controlplane.arc.privileges import give_up_the_rest
from controlplane.link.credentials import PrivilegesError
from controlplane.link.rules import Boot


def main(arguments: list[str]) -> int:
    """Exit codes as in the README: 0 stopped, 1 failed."""
    boot_fd = int(arguments[arguments.index("--boot-fd") + 1])
    boot = msgspec.msgpack.decode(os.pread(boot_fd, os.fstat(boot_fd).st_size, 0), type=Boot)
    os.close(boot_fd)
    try:
        arc = Arc(boot)
        give_up_the_rest()
    except (OSError, PrivilegesError) as error:
        print(f"reflexarc: {error}", file=sys.stderr)
        return 1
    arc.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
