"""Who is never a victim, by identities that are not reused. A policy widens it, and never narrows its core.

The core is PID 1, this daemon, kernel threads and programs of known names, with the cgroups that hold one of
them and all above those. Beside it stand subtrees of the system, in which a policy may act that names them.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks, processes
from controlplane.arc.reflex.victims import Victim
from controlplane.link.rules import Rule, Scope
from controlplane.link.scope import matches_glob

PROTECTED_NAMES: Final = (
    "systemd",
    "systemd-journal",
    "systemd-udevd",
    "systemd-logind",
    "dbus-daemon",
    "init",
    "sshd",
    "sshd-session",
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
TOP: Final = frozenset(
    {"system.slice", "init.scope", "kubelet", "runtime", "kubelet.slice", "runtime.slice", "podruntime.slice"}
)
"""Cgroups right below the root in which the system runs itself."""
ANYWHERE: Final = frozenset({"kubelet.service", "containerd.service", "crio.service", "docker.service"})
"""And wherever they are."""
MAX_PROCESSES: Final = 4096
"""Kept beyond it are those that still run."""
MAX_COMM: Final = 15

PROCESS: Final = "a process of this name or identity is protected"
PLACE: Final = "it holds a protected process, or lies above one"
ITSELF: Final = "reflexarc itself runs there"


class Root(NamedTuple):
    """A protected subtree."""

    path: str
    detail: str
    core: bool = False
    """No scope lifts it."""


class Kept:
    """Who is protected by one name or glob."""

    __slots__ = ("below", "places", "processes")

    def __init__(self) -> None:
        self.processes: dict[tuple[int, int], None] = {}
        self.places: set[int] = set()
        """As whole cgroups: those that hold one, and all above."""
        self.below: set[int] = set()
        """With every process in them."""

    def must_hold(self, victim: Victim) -> bool:
        """Whether the victim is one of them."""
        if victim.cgroup in self.below:
            return True
        if victim.pid:
            return (victim.pid, victim.start_ns // TICK_NS) in self.processes
        return victim.cgroup in self.places

    def add_process(self, pid: int, start_ticks: int) -> None:
        """One more; those that have ended go when there are too many."""
        if len(self.processes) >= MAX_PROCESSES:
            self.processes = {each: None for each in self.processes if _lives(*each)}
        self.processes[pid, start_ticks] = None


class Protection:
    """Asked before each act."""

    def __init__(self, cgroups: Cgroups, names: Iterable[str]) -> None:
        self._cgroups = cgroups
        self.names = frozenset(name[:MAX_COMM] for name in (*PROTECTED_NAMES, *names))
        """Of programs in the core."""
        self._core = Kept()
        # 0 stands for nobody in particular.
        self._core.places |= {0, cgroups.id_of("/")}
        self._roots: dict[int, tuple[Root, ...]] = {}
        """Of each cgroup that lies in any."""
        self._own = ""
        self._words: dict[str, Kept] = {}
        """What policies protect: names, and globs of cgroups."""

    @property
    def all_names(self) -> frozenset[str]:
        """Of which the kernel is to tell."""
        return self.names | {word[:MAX_COMM] for word in self._words if not word.startswith("/")}

    @property
    def processes(self) -> Collection[tuple[int, int]]:
        """Those in the core, protected by themselves: pid, and start in ticks."""
        return self._core.processes.keys()

    def scan(self, own: Collection[int]) -> None:
        """Take up PID 1, `own` with their cgroup, kernel threads and every process of a protected name."""
        always = {1, *own}
        for pid in own:
            self._own = self._cgroups.of_process(pid) or self._own
        for process in processes():
            if process.pid in always or process.kernel_thread or process.comm in self.names:
                self._core.add_process(process.pid, process.start_ticks)
                if not process.kernel_thread:
                    self._add_place(self._core, self._cgroups.of_process(process.pid))

    def set_words(self, rules: Iterable[Rule], known: Iterable[tuple[int, str]]) -> None:
        """Protect what policies name besides, among the cgroups (id, path) that are known."""
        before = self._words
        self._words = {word: before.get(word) or Kept() for rule in rules for word in rule.protect}
        new = self._words.keys() - before.keys()
        if not new:
            return
        for cgroup, path in known:
            self._match(cgroup, path, new)
        names = {word[:MAX_COMM]: self._words[word] for word in new if not word.startswith("/")}
        for process in processes() if names else ():
            if process.comm in names:
                names[process.comm].add_process(process.pid, process.start_ticks)
                self._add_place(names[process.comm], self._cgroups.of_process(process.pid))

    def born(self, cgroup: int, path: str) -> None:
        """A cgroup was made, or is known from now on."""
        roots = tuple(self._roots_of(path))
        if roots:
            self._roots[cgroup] = roots
        self._match(cgroup, path, self._words)

    def _roots_of(self, path: str) -> Iterator[Root]:
        if self._own.strip("/") and f"{path}/".startswith(f"{self._own}/"):
            yield Root(self._own, ITSELF, core=True)
        parts = path.split("/")
        for at, part in enumerate(parts):
            if (at == 1 and part in TOP) or part in ANYWHERE:
                root = "/".join(parts[: at + 1])
                yield Root(root, f"{root} is protected unless the scope names it")

    def _match(self, cgroup: int, path: str, words: Iterable[str]) -> None:
        for word in words:
            if word.startswith("/") and any(matches_glob(word, above) for above in _upwards(path)):
                kept = self._words[word]
                kept.below.add(cgroup)
                self._add_place(kept, path)

    def add(self, pid: int, start_ns: int, comm: str, path: str | None) -> None:
        """A protected program was executed, or moved into another cgroup."""
        for kept in self._keeping(comm):
            kept.add_process(pid, start_ns // TICK_NS)
            self._add_place(kept, path)

    def _keeping(self, comm: str) -> Iterator[Kept]:
        if comm in self.names:
            yield self._core
        for word, kept in self._words.items():
            if word[:MAX_COMM] == comm:
                yield kept

    def _add_place(self, kept: Kept, path: str | None) -> None:
        for above in _upwards(path or "/"):
            with contextlib.suppress(OSError):
                kept.places.add(self._cgroups.id_of(above))

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        self._roots.pop(cgroup, None)
        for kept in (self._core, *self._words.values()):
            kept.places.discard(cgroup)
            kept.below.discard(cgroup)

    def must_forbid(self, victim: Victim, rule: Rule) -> str:
        """Why the victim must not be touched; empty when it may be."""
        if victim.pid and victim.comm in self.names:
            return PROCESS
        if self._core.must_hold(victim):
            return PROCESS if victim.pid else PLACE
        for root in self._roots.get(victim.cgroup, ()):
            if root.core or not is_named(root.path, victim.path, rule.scope):
                return root.detail
        for word in rule.protect:
            kept = self._words.get(word)
            if kept is not None and (kept.must_hold(victim) or (victim.pid and victim.comm == word)):
                return word
        return ""


def is_named(root: str, path: str, scope: Scope) -> bool:
    """Whether a scope has the cgroup at `path` by a glob that spells `root` out, which is it or above it."""
    wanted = root.split("/")
    return any(
        matches_glob(glob, path) and glob.split("/")[: len(wanted)] == wanted for glob in scope.cgroups
    )


def _upwards(path: str) -> Iterator[str]:
    """A path and those above it, but the root."""
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]


def _lives(pid: int, start_ticks: int) -> bool:
    try:
        return must_start_ticks(pid) == start_ticks
    except OSError:
        return False
