"""The manifests on a cluster: ready, felt, ended, killed, rolled, uninstalled. Policies reach only pods."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.conftest import await_until
from tests.kubernetes.cluster import NAMESPACE, Cluster, ClusterError, Installation, Object, Pod, cgroup_of
from tests.kubernetes.conftest import LEFT, NEXT
from tests.kubernetes.node import ADDRESS, NAME, run

pytestmark = pytest.mark.timeout(400)

Install = Callable[[Installation], None]
RunPod = Callable[[str, str], Pod]

POLICY = """
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: storm}}
spec:
  signal: process.fork
  scope: {{cgroups: ["/kubepods/besteffort/**"]}}
  test: {{kind: threshold, above: 100/s, over: 500ms}}
  ladder: {ladder}
  cooldown: 2s
  mode: {mode}
"""
FREEZE = "[{act: freeze, for: 1h}]"
END = "[{act: freeze, for: 10s}, {act: kill, after: 1s}]"
STORM = "while :; do (:); done"
BURST = "i=0; while [ $i -lt 80 ]; do (:); i=$((i+1)); done; echo over; exec sleep 100000"
"""Fires once: what is left of it after the freeze is too little."""
LIVING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
ASK = """
import sys, urllib.request
from tests.plane.kubelet import probe
print(probe(9465, host=sys.argv[1]), urllib.request.urlopen(f"http://{sys.argv[1]}:9464/metrics").read().decode())
"""


def with_policy(overlay: str, mode: str, ladder: str, tag: str = "core") -> Installation:
    return Installation(overlay, {"storm.yaml": POLICY.format(mode=mode, ladder=ladder)}, tag)


def reflexes(cluster: Cluster) -> list[Object]:
    """Those of the policy, the newest last."""
    told = json.loads(cluster.reflexarc("history", "--json"))["reflexes"]
    return [each for each in told if each["finding"] and each["finding"]["policy"] == "storm"]


def await_ended(pod: Pod, cluster: Cluster) -> Object:
    """How its container ended."""
    cluster.await_pod(pod.name, "{.status.phase}", "Failed")
    state: Object = pod.status()["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


def test_a_server_this_old_refuses_what_it_does_not_know(cluster: Cluster) -> None:
    with pytest.raises(ClusterError) as refused:
        cluster.apply(Installation("observe", {}, components=()))
    unknown = set(re.findall(r'unknown field "(\w+)"', str(refused.value)))
    assert unknown == {"appArmorProfile", "grpc", "maxSurge"}
    cluster.delete(Installation("observe", {}))


def test_it_is_ready_and_answers_the_probe_of_newer_kubelets(cluster: Cluster, install: Install) -> None:
    install(Installation("observe", {}))
    address = cluster.daemon()["status"]["podIP"]
    assert address != ADDRESS  # a network of its own
    answer = run(cluster.node.within(sys.executable, "-c", ASK, address))
    assert answer.startswith("success ")
    assert "reflexarc_build_info" in answer
    (node,) = cluster.get("nodes")["items"]
    assert node["metadata"]["name"] == NAME


def test_it_finds_in_its_pod_what_it_needs(cluster: Cluster, install: Install) -> None:
    install(Installation("observe", {}))
    lines = json.loads(cluster.reflexarc("doctor", "--json"))
    assert {line["name"] for line in lines if line["needed"] and line["state"] != "ok"} == set()
    assert not [line for line in lines if line["name"].startswith("sensor ") and line["state"] != "ok"]


def test_a_storm_is_felt_and_ended_once_the_config_map_allows_it(
    cluster: Cluster, install: Install, run_pod: RunPod
) -> None:
    install(with_policy("observe", "enforce", END))
    neighbour, storm = run_pod("neighbour", LIVING), run_pod("storm", STORM)
    await_until(lambda: bool(reflexes(cluster)), 60)
    felt = reflexes(cluster)[-1]
    assert (
        f"/kubepods/besteffort/pod{storm.status()['metadata']['uid']}/" in felt["finding"]["victim"]["path"]
    )
    assert {step["mode"] for step in felt["steps"] if step["kind"] == "intent"} == {"observe"}

    install(with_policy("enforce", "observe", END))
    await_until(lambda: bool(reflexes(cluster)), 60)
    assert (storm.status()["status"]["phase"], storm.frozen) == ("Running", False)
    before = cluster.daemon()

    cluster.apply(with_policy("enforce", "enforce", END))
    assert await_ended(storm, cluster)["exitCode"] == 137
    done = [(step["kind"], step["act"]) for step in reflexes(cluster)[-1]["steps"]]
    assert [each for each in done if each[0] == "effect"] == [("effect", "freeze"), ("effect", "kill")]
    after = cluster.daemon()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0

    said = len(neighbour.said())
    await_until(lambda: len(neighbour.said()) > said, 10)
    victims = {each["finding"]["victim"]["path"] for each in reflexes(cluster)}
    assert not [path for path in victims if neighbour.status()["metadata"]["uid"] in path]


def test_killed_it_comes_back_and_takes_back(cluster: Cluster, install: Install, run_pod: RunPod) -> None:
    install(with_policy("enforce", "enforce", FREEZE))
    victim = run_pod("victim", BURST)
    await_until(lambda: victim.frozen, 20)
    daemon = cluster.daemon()
    (cgroup_of(cluster.node, daemon, "burstable") / "cgroup.kill").write_text("1")
    name = daemon["metadata"]["name"]
    cluster.await_pod(name, "{.status.containerStatuses[0].restartCount}", "1", NAMESPACE)
    cluster.kubectl("wait", "-n", NAMESPACE, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    assert not victim.frozen
    await_until(lambda: victim.said() == ["over"], 10)
    undone = [step for step in reflexes(cluster)[-1]["steps"] if step["kind"] == "undo"]
    assert [(step["act"], step["ok"]) for step in undone] == [("freeze", True)]


def test_rolled_to_another_version_it_leaves_nothing_frozen(
    cluster: Cluster, install: Install, run_pod: RunPod
) -> None:
    install(with_policy("enforce", "enforce", FREEZE))
    victim = run_pod("victim", BURST)
    await_until(lambda: victim.frozen, 20)
    before = cluster.daemon()["metadata"]["uid"]
    install(with_policy("enforce", "enforce", FREEZE, tag=NEXT))
    daemon = cluster.daemon()
    assert daemon["metadata"]["uid"] != before
    assert daemon["spec"]["containers"][0]["image"] == f"localhost/reflexarc:{NEXT}"
    assert not victim.frozen
    await_until(lambda: victim.said() == ["over"], 10)


def test_uninstalled_it_leaves_two_folders(cluster: Cluster, install: Install) -> None:
    installation = with_policy("enforce", "enforce", FREEZE)
    install(installation)
    cgroup = cgroup_of(cluster.node, cluster.daemon(), "burstable")
    programs = programs_of(cgroup)
    assert programs <= loaded()
    assert programs
    cluster.delete(installation)
    assert not cgroup.exists()
    assert programs.isdisjoint(loaded())
    left = run(cluster.node.within("find", "/run", "/var/lib", "-name", "*reflexarc*", namespaces=("mount",)))
    assert set(left.split()) <= {*LEFT, *left_in_kubelet(left)}
    assert run(cluster.node.within("nft", "list", "tables")) == ""


def left_in_kubelet(found: str) -> set[str]:
    """What containerd and the kubelet keep of any pod is theirs."""
    return {path for path in found.split() if path.startswith(("/run/containerd/", "/var/lib/kubelet/"))}


def programs_of(cgroup: Path) -> set[int]:
    """BPF programs that its processes hold."""
    pids = (cgroup / "cgroup.procs").read_text().split()
    infos = (info.read_text() for pid in pids for info in Path(f"/proc/{pid}/fdinfo").iterdir())
    return {int(number) for info in infos for number in re.findall(r"^prog_id:\s*(\d+)", info, re.MULTILINE)}


def loaded() -> set[int]:
    """All that the machine has."""
    told = subprocess.run(["bpftool", "-j", "prog", "show"], check=True, capture_output=True).stdout
    return {program["id"] for program in json.loads(told)}
