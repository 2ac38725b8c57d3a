"""What tests ask of the cluster, by kubectl: apply, wait, look; and the cgroups of pods, by their files."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifests import KUBERNETES
from tests.kubernetes.images import BUSYBOX
from tests.kubernetes.node import Node
from tests.patience import patient

NAMESPACE = "reflexarc"
OLDER = ("before-1.30", "before-1.24")
"""Components for a server as old as ours."""
Object = dict[str, Any]


@dataclass(frozen=True)
class Installation:
    """What is applied: an overlay with components, a tag of the image, policies by names of files."""

    overlay: str
    policies: dict[str, str]
    tag: str = "core"
    components: Sequence[str] = OLDER

    def write(self, folder: Path) -> None:
        """As a user would: a kustomization of their own on top of ours."""
        at = os.path.relpath(KUBERNETES, folder.resolve())
        for name, text in self.policies.items():
            (folder / name).write_text(text)
        generated = {"name": "reflexarc-policies", "namespace": NAMESPACE, "behavior": "merge"}
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{at}/overlays/{self.overlay}"],
            "components": [f"{at}/components/{component}" for component in self.components],
            "images": [{"name": "localhost/reflexarc", "newTag": self.tag}],
            "configMapGenerator": [{**generated, "files": list(self.policies)}] if self.policies else [],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


class ClusterError(Exception):
    """kubectl failed; the message is what it said."""


class Cluster:
    """One node's cluster."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What it prints; raises ClusterError."""
        done = subprocess.run(
            self.node.kubectl(*arguments),
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=patient(180),
            env={**os.environ, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"},
        )
        if done.returncode:
            raise ClusterError(done.stderr)
        return done.stdout

    def get(self, *what: str, namespace: str = NAMESPACE) -> Object:
        """An object, or a list of them."""
        found: Object = json.loads(self.kubectl("get", "-n", namespace, "-o", "json", *what))
        return found

    def apply(self, installation: Installation) -> None:
        """`kubectl apply -k`."""
        with tempfile.TemporaryDirectory(prefix="reflexarc-k8s-") as folder:
            installation.write(Path(folder))
            self.kubectl("apply", "-k", folder)

    def delete(self, installation: Installation) -> None:
        """`kubectl delete -k`, until all of it is gone."""
        with tempfile.TemporaryDirectory(prefix="reflexarc-k8s-") as folder:
            installation.write(Path(folder))
            self.kubectl("delete", "--ignore-not-found", "-k", folder)

    def await_rollout(self) -> None:
        """Every node has a pod as it is now described, and the pod is ready."""
        limit = f"--timeout={patient(120):.0f}s"
        self.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/reflexarc", limit)

    def daemon(self) -> Object:
        """Its pod."""
        (pod,) = self.get("pods", "-l", "app.kubernetes.io/name=reflexarc")["items"]
        found: Object = pod
        return found

    def reflexarc(self, *arguments: str) -> str:
        """What a command prints in the daemon's container."""
        name = self.daemon()["metadata"]["name"]
        return self.kubectl("exec", "-n", NAMESPACE, name, "--", "/usr/bin/reflexarc", *arguments)

    def run_pod(self, name: str, script: str) -> "Pod":
        """A pod of namespace `default` that runs a script of busybox's shell, once."""
        description = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "automountServiceAccountToken": False,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "main",
                        "image": BUSYBOX,
                        "imagePullPolicy": "Never",
                        "args": ["-c", script],
                    }
                ],
            },
        }
        self.kubectl("apply", "-n", "default", "-f", "-", stdin=json.dumps(description))
        self.await_pod(name, "{.status.phase}", "Running")
        return Pod(self, name)

    def await_pod(self, name: str, path: str, value: str, namespace: str = "default") -> None:
        """Until a field has a value."""
        limit = f"--timeout={patient(120):.0f}s"
        self.kubectl("wait", "-n", namespace, f"pod/{name}", f"--for=jsonpath={path}={value}", limit)


class Pod:
    """One of the tests' own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.cgroup = cgroup_of(cluster.node, self.status(), "besteffort")

    def status(self) -> Object:
        """As the API server has it."""
        return self._cluster.get("pod", self.name, namespace="default")

    def said(self) -> list[str]:
        """Lines of its log."""
        return self._cluster.kubectl("logs", "-n", "default", self.name).splitlines()

    @property
    def frozen(self) -> bool:
        """As the kernel says."""
        return "frozen 1" in (self.cgroup / "cgroup.events").read_text()

    def remove(self) -> None:
        """At once."""
        self._cluster.kubectl("delete", "-n", "default", "pod", self.name, "--force", "--ignore-not-found")


def cgroup_of(node: Node, pod: Object, quality: str) -> Path:
    """Of the one container of a pod, as the machine sees it."""
    container: str = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    return node.cgroup / f"kubepods/{quality}/pod{pod['metadata']['uid']}" / container
