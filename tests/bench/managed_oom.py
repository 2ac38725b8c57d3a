"""What systemd-oomd asks of process 1, answered where that is no systemd: which cgroups it is to watch.

One method of the Varlink interface io.systemd.ManagedOOM; messages are JSON ended by a zero byte.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/io.system.ManagedOOM")
OWN: Final = Path("/run/systemd/oom")
"""Where systemd-oomd itself listens; on a real system a socket unit makes it."""
WHOLE: Final = 2**32 - 1


@contextmanager
def serving(path: str, percent: int) -> Iterator[None]:
    """For the length of a block: kill below that cgroup when its memory pressure exceeds this share."""
    OWN.mkdir(parents=True, exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(SOCKET))
        server.listen()
        threading.Thread(target=_serve, args=(server, path, percent), daemon=True).start()
        yield


def _serve(server: socket.socket, path: str, percent: int) -> None:
    cgroup = {
        "mode": "kill",
        "path": path,
        "property": "ManagedOOMMemoryPressure",
        "limit": WHOLE * percent // 100,
    }
    answer = json.dumps({"parameters": {"cgroups": [cgroup]}, "continues": True}).encode() + b"\0"
    # Closing the server ends it.
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        while True:
            client, _ = server.accept()
            stack.enter_context(client)
            client.recv(4096)
            client.sendall(answer)
