"""`python -m controlplane.plane --link-fd N --doorbell-fd M --config-fd K [--signals-fd L]`: the arc's child.

Gives up its privileges first and imports the rest of the plane afterwards. Exit codes: 0 stopped, 1 failed,
3 bad configuration.
"""

import argparse
import os
import sys
from pathlib import Path

from controlplane.link.account import Account, AccountError, account, owned_directory
from controlplane.link.credentials import PrivilegesError
from controlplane.plane.privileges import drop


def main() -> int:
    """Become harmless, then serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.plane")
    for name in ("--link-fd", "--doorbell-fd", "--config-fd"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--signals-fd", type=int, default=-1)
    arguments = parser.parse_args()

    import msgspec

    from controlplane.link.config import Config
    from controlplane.link.signal_table import read_signals
    from controlplane.plane.confinement import confine

    config = msgspec.msgpack.decode(_contents(arguments.config_fd), type=Config)
    known = read_signals(arguments.signals_fd)
    try:
        owner = account(config.plane_user) if os.geteuid() == 0 else Account(os.geteuid(), os.getegid())
        _own_state(Path(config.state_dir), owner)
        drop(owner)
        for missing in confine(config, os.environ):
            sys.stderr.write(f"reflexarc plane: goes on with less protection from itself: {missing}\n")
    except (AccountError, PrivilegesError) as error:
        sys.stderr.write(f"reflexarc plane: {error}\n  hint: {error.hint}\n")
        return 3
    # Before grpc is imported: with no cipher of TLS 1.2 left, nothing below TLS 1.3 is spoken.
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "PSK"
    # With TLS its log is read, for what it says of handshakes.
    os.environ["GRPC_VERBOSITY"] = "INFO" if config.management.address else "ERROR"

    from controlplane.plane.daemon import serve

    return serve(config, os.environ, known, link=arguments.link_fd, doorbell=arguments.doorbell_fd)


def _own_state(path: Path, owner: Account) -> None:
    try:
        os.close(owned_directory(path, owner, 0o700))
    except OSError as error:
        # The journal cannot be kept then, and the health says so; the rest of the plane can serve.
        sys.stderr.write(f"reflexarc plane: state directory: {error}\n")


def _contents(file: int) -> bytes:
    """All of a memory file, wherever its offset stands."""
    return os.pread(file, os.fstat(file).st_size, 0)


if __name__ == "__main__":
    sys.exit(main())
