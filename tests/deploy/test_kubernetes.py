"""The manifests: by the schema of three versions, and by what no schema knows: names, ports, files."""

import argparse
import copy
from pathlib import Path

import pytest
from kubernetes_validate.utils import ValidationError
from kubernetes_validate.utils import validate as kubernetes_validate

from controlplane.arc.privileges import FOR_CHILDREN, KEPT
from controlplane.cli import run
from controlplane.link.account import FALLBACK_ID
from controlplane.link.config import Config
from controlplane.link.signals import known_with
from controlplane.policy.compile import compile_folder
from tests.deploy.manifests import (
    COMPONENTS,
    OVERLAYS,
    VERSIONS,
    Resource,
    config_map,
    container,
    daemon_set,
    files,
    needs_kubectl,
    of_kind,
    pod,
    rendered,
)

FOREIGN = {"Certificate", "PodMonitor"}
"""Kinds of others, whose schema does not come with Kubernetes."""
SETS = [(overlay, *parts) for overlay in OVERLAYS for parts in ((), COMPONENTS, COMPONENTS[:3])]
OLDER = {"1.25": ("before-1.30", "before-1.24"), "1.29": ("before-1.30",), "1.34": ("before-1.30",)}
"""Components for older clusters, with a version that takes them."""
REFUSING = ("1.25", "1.29")
"""Of these, those that do not take the manifests without."""
MIB = 1 << 20
PLANE_MIB, ARC_MIB = 64, 20
"""What they may take, docs/benchmarks.md."""

every_set = pytest.mark.parametrize("parts", SETS, ids="+".join)


def validate(resource: Resource, version: str) -> None:
    kubernetes_validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_are_valid(version: str) -> None:
    for name, resource in files():
        if resource["kind"] not in FOREIGN:
            try:
                validate(resource, version)
            except ValidationError as error:
                pytest.fail(f"{name}: {error.message}")


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@every_set
def test_what_is_sent_is_valid(parts: tuple[str, ...], version: str) -> None:
    for resource in rendered(*parts):
        if resource["kind"] not in FOREIGN:
            validate(resource, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_field_is_not(version: str) -> None:
    (resource,) = (copy.deepcopy(each) for _, each in files() if each["kind"] == "DaemonSet")
    resource["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(ValidationError):
        validate(resource, version)


@needs_kubectl
@pytest.mark.parametrize(("version", "parts"), OLDER.items(), ids=OLDER)
def test_components_for_older_clusters_are_needed_there(version: str, parts: tuple[str, ...]) -> None:
    for resource in rendered("observe", *parts):
        validate(resource, version)
    if version in REFUSING:
        with pytest.raises(ValidationError):
            validate(daemon_set(rendered("observe")), version)


@needs_kubectl
def test_every_probe_asks_the_same_of_older_clusters() -> None:
    spec = container(rendered("observe", "before-1.30", "before-1.24"))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert spec[probe]["exec"]["command"] == ["/usr/bin/reflexarc", "health"]
        assert "grpc" not in spec[probe]
        new = container(rendered("observe"))[probe]
        longest = [each["periodSeconds"] * each.get("failureThreshold", 3) for each in (spec[probe], new)]
        assert longest[0] >= longest[1]


@needs_kubectl
@every_set
def test_selectors_find_the_pods(parts: tuple[str, ...]) -> None:
    resources = rendered(*parts)
    labels = daemon_set(resources)["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        daemon_set(resources)["spec"]["selector"],
        *(each["spec"]["podSelector"] for each in of_kind("NetworkPolicy", resources)),
        *(each["spec"]["selector"] for each in of_kind("PodMonitor", resources)),
    ]
    assert all(selector["matchLabels"].items() <= labels for selector in selectors)


@needs_kubectl
@every_set
def test_everything_is_in_one_namespace_that_lets_the_pod_in(parts: tuple[str, ...]) -> None:
    resources = rendered(*parts)
    (namespace,) = of_kind("Namespace", resources)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    rest = {each["metadata"].get("namespace") for each in resources if each is not namespace}
    assert rest == {namespace["metadata"]["name"]}


@needs_kubectl
@every_set
def test_what_the_pod_names_is_there(parts: tuple[str, ...]) -> None:
    resources = rendered(*parts)
    spec = pod(resources)
    maps = {each["metadata"]["name"] for each in of_kind("ConfigMap", resources)}
    assert {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume} == maps
    mounts = {mount["name"] for mount in container(resources)["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}
    accounts = [each["metadata"]["name"] for each in of_kind("ServiceAccount", resources)]
    assert accounts == [spec["serviceAccountName"]]
    secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    made = {each["spec"]["secretName"] for each in of_kind("Certificate", resources)}
    assert secrets == made


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    return parser.parse_args(arguments)


def started_with(resources: tuple[Resource, ...], folder: Path) -> Config:
    """The configuration of the daemon in the pod: its file, and the arguments that override it."""
    maps = {
        volume["name"]: volume["configMap"]["name"]
        for volume in pod(resources)["volumes"]
        if "configMap" in volume
    }
    written = folder / "reflexarc.yaml"
    written.write_text(config_map(maps["config"], resources)["reflexarc.yaml"])
    arguments = [argument.replace("$(NODE_IP)", "192.0.2.1") for argument in container(resources)["args"]]
    args = parsed(arguments)
    at = {mount["name"]: mount["mountPath"] for mount in container(resources)["volumeMounts"]}
    assert args.config == Path(at["config"], "reflexarc.yaml")
    args.config = written
    config = run.configured(args)
    assert (config.policies, config.runtime_dir, config.state_dir) == (at["policies"], at["run"], at["state"])
    return config


@needs_kubectl
@every_set
def test_ports_are_those_of_the_daemon(parts: tuple[str, ...], tmp_path: Path) -> None:
    resources = rendered(*parts)
    config = started_with(resources, tmp_path)
    given = {"metrics": config.metrics, "health": config.health, "management": config.management.address}
    wanted = {name: int(address.rpartition(":")[2]) for name, address in given.items() if address}
    declared = {port["name"]: port["containerPort"] for port in container(resources)["ports"]}
    assert declared == wanted
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container(resources)[probe]["grpc"] == {"port": wanted["health"]}
    annotations = daemon_set(resources)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(wanted["metrics"])
    (policy,) = of_kind("NetworkPolicy", resources)
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert opened == wanted.keys() - {"health"}
    for monitor in of_kind("PodMonitor", resources):
        assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


@needs_kubectl
@every_set
def test_the_mode_is_that_of_the_overlay(parts: tuple[str, ...], tmp_path: Path) -> None:
    assert started_with(rendered(*parts), tmp_path).mode == parts[0]


@needs_kubectl
@every_set
def test_policies_are_good_and_have_a_scope(parts: tuple[str, ...], tmp_path: Path) -> None:
    for name, text in config_map("reflexarc-policies", rendered(*parts)).items():
        (tmp_path / name).write_text(text)
    rules = compile_folder(tmp_path, known_with(()), defaults=False)
    assert [rule.mode for rule in rules] == (["enforce"] if parts[0] == "enforce" else [])
    assert all(rule.scope.cgroups for rule in rules)


@needs_kubectl
def test_the_plane_can_read_its_certificates(tmp_path: Path) -> None:
    resources = rendered("observe", *COMPONENTS)
    assert pod(resources)["securityContext"] == {"fsGroup": FALLBACK_ID}
    (secret,) = (volume["secret"] for volume in pod(resources)["volumes"] if "secret" in volume)
    assert secret["defaultMode"] == 0o440
    given = started_with(resources, tmp_path).management
    paths = {given.cert, given.key, given.client_ca}
    assert paths == {f"/etc/reflexarc/tls/{name}" for name in ("tls.crt", "tls.key", "ca.crt")}


@needs_kubectl
@every_set
def test_what_it_may_use_holds_what_it_uses(parts: tuple[str, ...], tmp_path: Path) -> None:
    resources = rendered(*parts)
    config = started_with(resources, tmp_path)
    given = container(resources)["resources"]
    millicores = config.self_budget / 10
    assert millicores <= int(given["requests"]["cpu"].removesuffix("m")) / 2
    head = config.journal_head_bytes * config.journal_head_segments / MIB
    assert ARC_MIB + PLANE_MIB + head <= int(given["requests"]["memory"].removesuffix("Mi"))


@needs_kubectl
@every_set
def test_nothing_is_granted_that_has_no_reason(parts: tuple[str, ...]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
    context = container(rendered(*parts))["securityContext"]
    assert (context["privileged"], context["readOnlyRootFilesystem"]) == (False, True)
    assert "allowPrivilegeEscalation" not in context  # tests/kernel/test_supervised.py
    assert context["capabilities"]["drop"] == ["ALL"]
    assert set(context["capabilities"]["add"]) == {each.name for each in (*KEPT, *FOR_CHILDREN)}
    assert [
        name for name in context["capabilities"]["add"] if f"`{name}`" not in page.split("## Sizing")[0]
    ] == []
    writable = {
        mount["mountPath"]
        for mount in container(rendered(*parts))["volumeMounts"]
        if not mount.get("readOnly")
    }
    assert writable == {"/sys/fs/cgroup", "/run/reflexarc", "/var/lib/reflexarc"}


@needs_kubectl
@every_set
def test_only_one_component_takes_the_network_of_the_node(parts: tuple[str, ...]) -> None:
    assert pod(rendered(*parts)).get("hostNetwork", False) == ("host-network" in parts)
    assert not pod(rendered(*parts)).get("hostIPC", False)
