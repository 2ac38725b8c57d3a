"""A container of an image: what it is told, and what it told when it is over."""

import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controlplane.client import Client, HealthClient, Target
from tests.image.conftest import Image

RUN: Final = (
    *("podman", "--runtime", "runc", "run", "--rm", "--read-only", "--network", "host"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
PRIVILEGED: Final = ("--privileged",)
CAPABILITIES: Final = (
    "--cap-drop=all",
    "--cap-add=BPF,CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,KILL,NET_ADMIN,PERFMON,SETGID",
    "--cap-add=SETPCAP,SETUID,SYS_ADMIN,SYS_NICE,SYS_PTRACE",
)
"""Each with its reason in docs/operations.md."""


class Container:
    """The daemon in a container, with folders of its own, which are there before it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.health, self.metrics = (f"127.0.0.1:{port}" for port in free_ports())
        self.said = ""
        """On standard error, once it is over."""
        self.code = -1
        for name in ("run", "state", "policies.d", "sensors.d"):
            (folder / name).mkdir(0o755)

    @contextmanager
    def running(self, image: Image, *privileges: str) -> Iterator[Client]:
        """While the block lasts, from armed on."""
        with subprocess.Popen(
            self._command(image, *privileges), stderr=subprocess.PIPE, text=True
        ) as container:
            try:
                with Client(Target(socket=str(self.folder / "run/management.sock"))) as client:
                    client.wait()
                    yield client
            finally:
                subprocess.run(["podman", "kill", "-s", "TERM", self.folder.name], check=False)
                _, self.said = container.communicate(timeout=30)
                self.code = container.returncode

    def is_healthy(self) -> bool:
        """As a probe sees it."""
        with HealthClient(self.health) as health:
            return health.components()[""] == "serving"

    def _command(self, image: Image, *privileges: str) -> list[str]:
        """To start it; its name is that of the folder."""
        mounts = {
            "/sys/kernel/tracing": "/sys/kernel/tracing:ro",
            "/sys/fs/cgroup": "/sys/fs/cgroup",
            f"{self.folder}/run": "/run/reflexarc",
            f"{self.folder}/state": "/var/lib/reflexarc",
            f"{self.folder}/policies.d": "/etc/reflexarc/policies.d:ro",
            f"{self.folder}/sensors.d": "/etc/reflexarc/sensors.d:ro",
        }
        return [
            *(*RUN, "--name", self.folder.name, "--pid", "host", *privileges),
            *(word for here, there in mounts.items() for word in ("-v", f"{here}:{there}")),
            *(image.name, "run", "--mode", "enforce", "--policies", "/etc/reflexarc/policies.d"),
            *("--health", self.health, "--metrics", self.metrics),
        ]


@contextmanager
def container() -> Iterator[Container]:
    """One that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="reflexarc-image-") as folder:
        Path(folder).chmod(0o755)
        yield Container(Path(folder))


def python(image: Image, names: Iterable[str], code: str) -> subprocess.CompletedProcess[str]:
    """What the image's interpreter makes of it."""
    (program,) = (name for name in names if name.startswith("usr/bin/python"))
    command = (*RUN, "--entrypoint", f"/{program}", image.name, "-c", code)
    return subprocess.run(command, check=False, capture_output=True, text=True)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
