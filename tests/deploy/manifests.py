"""The Kubernetes manifests: as files, and as `kubectl kustomize` renders overlays with components."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
COMPONENTS = ("management", "cert-manager", "pod-monitor", "host-network")
OVERLAYS = ("observe", "enforce")
VERSIONS = ("1.31", "1.34", "1.37")
Resource = dict[str, Any]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed, which renders the overlays"
)


def files() -> Iterator[tuple[str, Resource]]:
    """Every file of the base and of the components that is a whole resource; components' patches are not."""
    for path in sorted(KUBERNETES.glob("*/**/*.yaml")):
        content = yaml.safe_load(path.read_text())
        is_resource = "kind" in content and not content["apiVersion"].startswith(("kustomize", "reflexarc"))
        if is_resource and path != KUBERNETES / "components/management/daemon-set.yaml":
            yield str(path.relative_to(KUBERNETES)), content


@functools.cache
def rendered(overlay: str, *components: str) -> tuple[Resource, ...]:
    """What `kubectl apply -k` would send for an overlay, with components added as users add them."""
    with tempfile.TemporaryDirectory() as folder:
        at = os.path.relpath(KUBERNETES, Path(folder).resolve())
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{at}/overlays/{overlay}"],
            "components": [f"{at}/components/{component}" for component in components],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        command = ["kubectl", "kustomize", folder]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tuple(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, resources: tuple[Resource, ...]) -> list[Resource]:
    return [each for each in resources if each["kind"] == kind]


def daemon_set(resources: tuple[Resource, ...]) -> Resource:
    (found,) = of_kind("DaemonSet", resources)
    return found


def pod(resources: tuple[Resource, ...]) -> Resource:
    spec: Resource = daemon_set(resources)["spec"]["template"]["spec"]
    return spec


def container(resources: tuple[Resource, ...]) -> Resource:
    (found,) = pod(resources)["containers"]
    content: Resource = found
    return content


def config_map(named: str, resources: tuple[Resource, ...]) -> dict[str, str]:
    """Its files, by the name that the pod has for it."""
    (found,) = (each for each in of_kind("ConfigMap", resources) if each["metadata"]["name"] == named)
    data: dict[str, str] = found.get("data") or {}
    return data
