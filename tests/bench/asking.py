"""API load, `python -m tests.bench.asking SOCKET`: asks for status and streams until it is ended."""

import sys
from contextlib import suppress

from controlplane.client import Client, ConnectError, Target


def ask(socket: str) -> None:
    """Until killed, or until the daemon has stopped."""
    with Client(Target(socket=socket)) as client, suppress(ConnectError):
        client.wait()
        print("ready", flush=True)
        while True:
            client.status()
            client.streams()


if __name__ == "__main__":
    ask(sys.argv[1])
