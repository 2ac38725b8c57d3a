"""Every act there is, by name and kind of victim: for the arc, and for whoever undoes without it."""

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.namespaces import Namespaces
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.kernel.watched import Watched
from controlplane.arc.reflex import limits
from controlplane.arc.reflex.acts import Act, Freeze, KillCgroup, KillProcess
from controlplane.arc.reflex.by_child import Reclaim, RunHook, TakeEvidence
from controlplane.arc.reflex.denying import Deny
from controlplane.arc.reflex.network import NetworkAct, Prepared
from controlplane.arc.reflex.stopping import FreezeProcess
from controlplane.arc.reflex.values import Setting, values_of
from controlplane.arc.reflex.weights import ReweighProcess, must_weight


def acts_on(
    cgroups: Cgroups,
    by_identity: ByIdentity,
    watched: Watched | None,
    reaper: Reaper,
    denials: Denials | None = None,
    prepared: Prepared | None = None,
) -> dict[tuple[str, bool], Act]:
    """By name and whether the victim is one process.

    Without `watched` no process can be killed, without `denials` nothing be denied; without `prepared` what
    acts on networks is only taken back.
    """
    namespaces, messages = Namespaces(cgroups), prepared or Prepared()
    weights = {"cpu": Setting("cpu.weight", must_weight), "io": Setting("io.weight", must_weight)}
    acts: dict[tuple[str, bool], Act] = {
        ("reweigh", False): values_of("reweigh", cgroups, weights),
        ("reweigh", True): ReweighProcess(by_identity),
        ("limit-cpu", False): values_of("limit-cpu", cgroups, limits.CPU),
        ("limit-memory", False): values_of("limit-memory", cgroups, limits.MEMORY),
        ("limit-pids", False): values_of("limit-pids", cgroups, limits.PIDS),
        ("limit-io", False): limits.LimitIo(cgroups),
        ("shape", False): NetworkAct("shape", namespaces, messages),
        ("quarantine", False): NetworkAct("quarantine", namespaces, messages),
        ("deny", False): Deny(cgroups, denials),
        ("freeze", False): Freeze(cgroups),
        ("freeze", True): FreezeProcess(by_identity),
        ("kill", False): KillCgroup(cgroups),
        ("reclaim", False): Reclaim(cgroups),
        ("hook", False): RunHook(),
        ("hook", True): RunHook(),
        ("evidence", False): TakeEvidence(cgroups, by_identity),
        ("evidence", True): TakeEvidence(cgroups, by_identity),
    }
    if watched is not None:
        acts["kill", True] = KillProcess(by_identity, watched, reaper)
    return acts
