"""API load: asks for status and streams without pause until it is ended. `python -m tests.bench.asking SOCKET`."""

import sys

from controlplane.client import Client, Target


def ask(socket: str) -> None:
    """Until killed."""
    with Client(Target(socket=socket)) as client:
        client.wait()
        print("ready", flush=True)
        while True:
            client.status()
            client.streams()


if __name__ == "__main__":
    ask(sys.argv[1])
