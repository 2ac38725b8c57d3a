"""Which container and pod a cgroup belongs to, by its path: runtimes and the kubelet write it there.

Pure. Both cgroup drivers (cgroupfs, systemd) of containerd, CRI-O, Docker and Podman.
"""

import re
from typing import Final, NamedTuple

_CONTAINER: Final = re.compile(r"(?:.*[-:])?(?<!conmon-)([0-9a-f]{64})(?:\.scope)?")
"""A component: the id alone, or behind `cri-containerd-`, `crio-`, `docker-`, `libpod-`.

Behind `conmon-` it is of the runtime's own process that watches over that container from outside.
"""
_POD: Final = re.compile(
    r"(?:.*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?::.*)?"
)
"""A component: the uid, its dashes made underscores by the systemd driver. That of a static pod has none."""


class Container(NamedTuple):
    """Ids as the runtime and the API server have them; empty where there is none."""

    container_id: str
    pod_uid: str


def container_of(path: str) -> Container:
    """The innermost container and pod of a cgroup path, as a container may run others inside."""
    parts = path.split("/")[::-1]
    container = next((found[1] for part in parts if (found := _CONTAINER.fullmatch(part))), "")
    pod = next((found[1] for part in parts if (found := _POD.fullmatch(part))), "")
    return Container(container, pod.replace("_", "-"))
