"""What forbids an act: protection, lack of certainty, breaker. All are asked on the hot path."""

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.processes import TICK_NS, processes
from controlplane.arc.monitor.tests import Test
from controlplane.arc.monitor.tiers import must_stern
from controlplane.arc.reflex.victims import Victim
from controlplane.link.rules import Rule, is_learned

PROTECTED_NAMES: Final = (
    "systemd",
    "systemd-journal",
    "systemd-udevd",
    "systemd-logind",
    "dbus-daemon",
    "init",
    "sshd",
    "kubelet",
    "containerd",
    "containerd-shim",
    "dockerd",
    "crio",
    "conmon",
    "podman",
    "reflexarc",
)
"""As task->comm has them: at most 15 bytes."""


class Protection:
    """Processes that are never a victim, and the cgroups that hold one: those and all above them."""

    def __init__(self, cgroups: Cgroups, names: Iterable[str]) -> None:
        self._cgroups = cgroups
        self.names = frozenset(name[:15] for name in (*PROTECTED_NAMES, *names))
        self._processes: set[tuple[int, int]] = set()
        # 0 stands for nobody in particular.
        self._places: set[int] = {0, cgroups.id_of("/")}

    def scan(self, own: Iterable[int]) -> None:
        """Take up PID 1, `own` pids, kernel threads and every process of a protected name."""
        always = {1, *own}
        for process in processes():
            if process.pid in always or process.kernel_thread or process.comm in self.names:
                self._processes.add((process.pid, process.start_ticks))
                if not process.kernel_thread:
                    self.add_place(self._cgroups.of_process(process.pid))

    @property
    def processes(self) -> Collection[tuple[int, int]]:
        """Those protected by themselves: pid, and start in ticks."""
        return self._processes

    def add(self, pid: int, start_ns: int, path: str | None) -> None:
        """A protected program was executed."""
        self._processes.add((pid, start_ns // TICK_NS))
        self.add_place(path)

    def add_place(self, path: str | None) -> None:
        """Protect the cgroup at `path` and those above it, as whole cgroups."""
        while path and path != "/":
            with contextlib.suppress(OSError):
                self._places.add(self._cgroups.id_of(path))
            path = path.rpartition("/")[0]

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        self._places.discard(cgroup)

    def must_forbid(self, victim: Victim) -> bool:
        """Whether the victim must not be touched."""
        if victim.pid:
            return victim.comm in self.names or (victim.pid, victim.start_ns // TICK_NS) in self._processes
        return victim.cgroup in self._places


class Breaker:
    """At most `acts` irreversible acts per window, on the node and for each rule; then it opens.

    Opened it stays open until `close`: a person should look at what killed so often.
    """

    def __init__(self, acts: int, window_ns: int) -> None:
        self._acts = acts
        self._window_ns = window_ns
        self._times: dict[str, deque[int]] = {}
        self.open: set[str] = set()
        """Rules that may no longer act; "" stands for the node."""

    def must_allow(self, rule: str, now_ns: int) -> bool:
        """Count one irreversible act of `rule`; False when it must not be done."""
        if rule in self.open or "" in self.open:
            return False
        for name in (rule, ""):
            if not self._must_count(name, now_ns):
                self.open.add(name)
                return False
        return True

    def allows(self, rule: str, now_ns: int) -> bool:
        """The same without counting."""
        return not self.open.intersection((rule, "")) and not any(
            len(times) == self._acts and now_ns - times[0] < self._window_ns
            for times in map(self._times.get, (rule, ""))
            if times
        )

    def _must_count(self, name: str, now_ns: int) -> bool:
        times = self._times.get(name)
        if times is None:
            times = self._times[name] = deque(maxlen=self._acts)
        if len(times) == self._acts and (not times or now_ns - times[0] < self._window_ns):
            return False
        times.append(now_ns)
        return True

    def close(self, rule: str) -> None:
        """By command only."""
        self.open.discard(rule)
        self._times.pop(rule, None)


UNSURE: Final = 1
AT_REST: Final = 2


class Confirmation:
    """What cannot be undone needs a surer test, if that has learned, and a second signal in trouble."""

    def __init__(self, confirmed: Callable[[Rule, int, int], bool]) -> None:
        """`confirmed` says of a rule and a cgroup whether the second signal shows trouble at a time."""
        self._must_confirm = confirmed

    def must_miss(self, rule: Rule, test: Test, cgroup: int, now_ns: int) -> int:
        """What is missing: 0, or of UNSURE and AT_REST those that hold."""
        learned = is_learned(rule.test)
        missing = UNSURE if learned and test.statistic < must_stern(test.kind, test.threshold) else 0
        if (learned or rule.confirm is not None) and not self._must_confirm(rule, cgroup, now_ns):
            missing |= AT_REST
        return missing


class Guards(NamedTuple):
    """All of them."""

    protection: Protection
    confirmation: Confirmation
    breaker: Breaker
