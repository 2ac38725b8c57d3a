"""Who is protected: a core that nothing narrows, subtrees of the system, and what policies add."""

import os
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.processes import TICK_NS, must_start_ticks
from controlplane.arc.reflex import protection as protections
from controlplane.arc.reflex.protection import Kept, Protection
from controlplane.arc.reflex.victims import Victim
from controlplane.link.rules import NS, Rate, Rule, Scope

RULE = Rule(name="r", signal="process.fork", test=Rate(NS, 1), scope=Scope(node=True))


class Tree:
    """A folder that stands for the hierarchy: ids are inode numbers there, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.protection = Protection(Cgroups(str(folder)), ("mine",))

    def make(self, path: str) -> int:
        """A cgroup, with those above it."""
        directory = self.folder / path.strip("/")
        directory.mkdir(parents=True, exist_ok=True)
        cgroup = directory.stat().st_ino
        self.protection.born(cgroup, path)
        return cgroup

    def forbids(self, path: str, rule: Rule = RULE, pid: int = 0, comm: str = "x", start_ns: int = 0) -> str:
        return self.protection.must_forbid(Victim(self.make(path), path, pid, start_ns, comm), rule)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def scoped(*globs: str) -> Rule:
    return msgspec.structs.replace(RULE, scope=Scope(cgroups=globs))


def protecting(*words: str) -> Rule:
    return msgspec.structs.replace(RULE, protect=words)


def test_nobody_in_particular_and_the_root_are_never_victims(tree: Tree) -> None:
    root = tree.folder.stat().st_ino
    assert tree.protection.must_forbid(Victim(0, ""), scoped("/**"))
    assert tree.protection.must_forbid(Victim(root, "/"), scoped("/"))
    assert tree.forbids("/web") == ""


@pytest.mark.parametrize("comm", ["systemd", "sshd", "sshd-session", "kubelet", "mine"])
def test_a_process_of_a_protected_name(tree: Tree, comm: str) -> None:
    assert tree.forbids("/web", pid=7, comm=comm)


def test_a_protected_program_protects_its_cgroup_and_those_above(tree: Tree) -> None:
    below = tree.make("/apps/web/nginx")
    tree.make("/apps/db")
    tree.protection.add(7, 9 * TICK_NS, "sshd", "/apps/web")
    assert tree.forbids("/apps/web")
    assert tree.forbids("/apps", scoped("/apps"))
    assert tree.protection.must_forbid(Victim(below, "/apps/web/nginx"), RULE) == ""
    assert tree.forbids("/apps/db") == ""
    assert tree.forbids("/apps/web", pid=7, start_ns=9 * TICK_NS)
    assert tree.forbids("/apps/web", pid=7, start_ns=10 * TICK_NS) == ""


def test_a_cgroup_that_is_gone_leaves_nothing(tree: Tree) -> None:
    cgroup = tree.make("/system.slice/web")
    tree.protection.add(7, 0, "sshd", "/system.slice/web")
    tree.protection.forget(cgroup)
    assert tree.protection.must_forbid(Victim(cgroup, "/system.slice/web"), RULE) == ""


@pytest.mark.parametrize(
    "path",
    [
        *("/system.slice", "/system.slice/cron.service", "/init.scope", "/kubelet", "/runtime/x"),
        *("/podruntime.slice/kubelet.service", "/a/b/containerd.service/c", "/x/crio.service"),
    ],
)
def test_subtrees_of_the_system(tree: Tree, path: str) -> None:
    assert "protected unless the scope names it" in tree.forbids(path)
    assert tree.forbids(path, pid=7)
    assert tree.forbids(path, scoped("/**"))
    assert tree.forbids(path, scoped("/*/**"))


@pytest.mark.parametrize("path", ["/app.slice", "/x/system.slice", "/system.slicer", "/kubepods.slice/pod1"])
def test_others_are_not(tree: Tree, path: str) -> None:
    assert tree.forbids(path) == ""


def test_a_scope_that_names_the_subtree_lifts_it(tree: Tree) -> None:
    assert tree.forbids("/system.slice/cron.service", scoped("/system.slice/**")) == ""
    assert tree.forbids("/system.slice/docker-1.scope", scoped("/system.slice/docker-*.scope")) == ""
    assert tree.forbids("/system.slice/cron.service", scoped("/system.slice/a*", "/*.slice/*"))


def test_the_innermost_subtree_must_be_named(tree: Tree) -> None:
    path = "/system.slice/containerd.service"
    assert tree.forbids(path, scoped("/system.slice/**")).startswith(path)
    assert tree.forbids(path, scoped(path)) == ""


def test_no_scope_lifts_our_own_cgroup(tree: Tree) -> None:
    tree.protection._own = "/system.slice/reflexarc.service"
    path = "/system.slice/reflexarc.service/child"
    for pid in (0, 7):
        assert tree.forbids(path, scoped(path, "/system.slice/**"), pid) == protections.ITSELF


def test_a_policy_protects_a_cgroup_with_all_below_and_as_a_part_of_those_above(tree: Tree) -> None:
    rule = protecting("/data/db*")
    tree.make("/data/db1/shard")
    tree.protection.set_words(
        [rule], [(tree.make(path), path) for path in ("/data", "/data/db1", "/data/db1/shard")]
    )
    for path in ("/data/db1", "/data/db1/shard", "/data", "/data/db2"):
        assert tree.forbids(path, rule) == "/data/db*"
        assert tree.forbids(path) == ""
    assert tree.forbids("/data/web", rule) == ""
    assert tree.forbids("/data", rule, pid=7) == ""
    assert tree.forbids("/data/db1", rule, pid=7) == "/data/db*"


def test_a_policy_protects_a_program(tree: Tree) -> None:
    rule = protecting("postgres")
    tree.make("/data/db")
    tree.protection.set_words([rule], [])
    assert "postgres" in tree.protection.all_names
    tree.protection.add(7, 9 * TICK_NS, "postgres", "/data/db")
    assert tree.forbids("/data", rule) == "postgres"
    assert tree.forbids("/data") == ""
    assert tree.forbids("/x", rule, pid=7, start_ns=9 * TICK_NS) == "postgres"
    assert tree.forbids("/x", rule, pid=8, comm="postgres") == "postgres"
    tree.protection.set_words([], [])
    assert tree.forbids("/data", rule) == ""


def test_a_program_that_runs_already_is_found(tree: Tree) -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    rule = protecting(comm)
    tree.protection.set_words([rule], [])
    start_ns = must_start_ticks(os.getpid()) * TICK_NS
    assert tree.forbids("/x", rule, pid=os.getpid(), comm="renamed", start_ns=start_ns) == comm


def test_processes_that_have_ended_go_when_there_are_too_many() -> None:
    kept = Kept()
    alive = os.getpid(), must_start_ticks(os.getpid())
    kept.add_process(*alive)
    for number in range(protections.MAX_PROCESSES):
        kept.add_process(2**22 + 1 + number, 1)
    assert alive in kept.processes
    assert len(kept.processes) < 10
