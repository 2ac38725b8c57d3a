"""How commands reach a daemon: the options they share, and what its errors mean to a shell."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from controlplane.cli.exits import CliError, Exit

if TYPE_CHECKING:
    from controlplane.client import Client

DEFAULT_SOCKET: Final = "/run/reflexarc/management.sock"
"""Also the client's own default, which is not imported before a command needs it."""


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """Where the daemon is, and `--json`."""
    parser.add_argument("--json", action="store_true", help="for machines: one JSON object")
    where = parser.add_argument_group("where the daemon is")
    where.add_argument("--socket", default=DEFAULT_SOCKET, metavar="PATH", help="default: %(default)s")
    where.add_argument("--address", default="", metavar="HOST:PORT", help="over TLS instead of the socket")
    where.add_argument("--ca", default="", metavar="FILE", help="who signed the daemon's certificate")
    where.add_argument("--cert", default="", metavar="FILE", help="your certificate")
    where.add_argument("--key", default="", metavar="FILE", help="its key")


@contextmanager
def connected(args: argparse.Namespace) -> Iterator["Client"]:
    """A client for the block; what goes wrong with the daemon in it ends the command with its exit code."""
    quiet_grpc()
    from controlplane.client import Client, Target

    if args.address and not (args.ca and args.cert and args.key):
        raise CliError("--address needs --ca, --cert and --key", exit=Exit.USAGE)
    target = Target(socket=args.socket, address=args.address, ca=args.ca, cert=args.cert, key=args.key)
    try:
        client = Client(target)
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}", exit=Exit.USAGE) from None
    with (
        client,
        explained("`reflexarc run` starts a daemon, --socket names another one; the socket is root's"),
    ):
        yield client


@contextmanager
def explained(hint: str) -> Iterator[None]:
    """Turns the client's errors into the command's; `hint` is for a daemon that cannot be reached."""
    from controlplane import client

    try:
        yield
    except client.ConnectError as error:
        raise CliError(str(error), hint, Exit.UNREACHABLE) from None
    except client.RefusedError as error:
        raise CliError(f"refused: {error}", exit=Exit.REFUSED) from None
    except client.InvalidError as error:
        raise CliError(str(error), exit=Exit.BAD_POLICY if "yaml" in error.fields else Exit.FAILED) from None
    except client.ClientError as error:
        raise CliError(str(error)) from None


def quiet_grpc() -> None:
    """Keeps gRPC's own log off the terminal: what matters of it arrives as an error. Before its import."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
