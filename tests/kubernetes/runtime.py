#!/usr/bin/python3
"""Stands before runc on the test's node: says to it what a node with controllers of cgroup2 would.

The machine's controllers belong to cgroup v1, so limits cannot be set, and the kubelet makes no cgroups for
pods: containers are put where it would have put them. Capabilities that the machine lacks are left out.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNC = "/usr/sbin/runc"
BEST_EFFORT = 1000
"""What the kubelet has as oom_score_adj for pods of that class, and for no other."""
BITS = {"CAP_SYS_RESOURCE": 24}
"""Of capabilities that a container may be given and a machine may lack: uapi/linux/capability.h."""


def main() -> None:
    """Change what describes a container, or one more process in it, before it is made; then be runc."""
    arguments = sys.argv[1:]
    if "create" in arguments:
        rewrite(Path(arguments[arguments.index("--bundle") + 1], "config.json"), adapted)
    elif "exec" in arguments:
        rewrite(Path(arguments[arguments.index("--process") + 1]), without_what_lacks)
    os.execv(RUNC, [RUNC, *arguments])


def rewrite(description: Path, change: Callable[[dict[str, Any], int], dict[str, Any]]) -> None:
    """A file of JSON, by what this machine has."""
    changed = change(json.loads(description.read_text()), bounding_set())
    description.write_text(json.dumps(changed))


def bounding_set() -> int:
    """What any process of this machine can have."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))


def adapted(spec: dict[str, Any], bounding: int) -> dict[str, Any]:
    """The description of one container (OCI runtime specification) as this machine can run it."""
    linux, process = spec["linux"], without_what_lacks(spec["process"], bounding)
    linux["resources"] = {"devices": linux["resources"]["devices"]}
    if pod := pod_of(spec):
        best = process.get("oomScoreAdj") == BEST_EFFORT
        name = Path(linux["cgroupsPath"]).name
        linux["cgroupsPath"] = f"/kubepods/{'besteffort' if best else 'burstable'}/pod{pod}/{name}"
    return spec


def without_what_lacks(process: dict[str, Any], bounding: int) -> dict[str, Any]:
    """One process, without limits that would have to be raised and without capabilities that nobody has."""
    lacking = {name for name, bit in BITS.items() if not bounding >> bit & 1}
    for kind, names in process.get("capabilities", {}).items():
        process["capabilities"][kind] = [name for name in names if name not in lacking]
    process.pop("rlimits", None)
    return process


def pod_of(spec: dict[str, Any]) -> str | None:
    """Uid of its pod, by the kubelet's files of it; None for what holds a pod's network, which has none."""
    sources = (Path(mount.get("source", "")).parts for mount in spec["mounts"])
    return next((parts[5] for parts in sources if parts[:5] == ("/", "var", "lib", "kubelet", "pods")), None)


if __name__ == "__main__":
    main()
