"""What the arc keeps of root once its sensors are attached, and why; what its children may have besides.

Owns the list, which docs/security.md shows. Each child gives up the rest of it first of all.
"""

from collections.abc import Mapping
from typing import Final

from controlplane.link.capabilities import Capability, bound, hold

KEPT: Final[Mapping[Capability, str]] = {
    Capability.BPF: "write gates and odds, attach what a policy needs and let go of it",
    Capability.PERFMON: "the same, for what is attached to tracepoints",
    Capability.SYS_ADMIN: "enter a cgroup's network namespace; load sensors before Linux 5.8",
    Capability.DAC_READ_SEARCH: "open a cgroup by its id",
    Capability.DAC_OVERRIDE: "write control files of cgroups that were delegated to others",
    Capability.CHOWN: "give each new segment of the journal to the plane's group, to read",
    Capability.KILL: "signal processes of others",
    Capability.SYS_PTRACE: "free a killed process's memory; find the network namespace of a process",
    Capability.SYS_NICE: "nice, ionice, real-time scheduling",
    Capability.SYS_RESOURCE: "lower an oom_score_adj again; PSI windows that are no multiple of 2 s",
    Capability.IPC_LOCK: "lock memory that is touched later",
    Capability.NET_ADMIN: "shape and quarantine",
}
FOR_CHILDREN: Final[Mapping[Capability, str]] = {
    Capability.SETUID: "plane and programs of policies become another account",
    Capability.SETGID: "the same, of groups",
    Capability.SETPCAP: "they empty their bounding set",
}


def give_up_the_rest() -> None:
    """For good, once the sensors are loaded. Raises PrivilegesError."""
    bound(KEPT.keys() | FOR_CHILDREN.keys())
    hold(KEPT.keys())
