"""Containers and pods by the paths which runtimes and the kubelet make."""

import pytest

from controlplane.link.container import Container, container_of

ID = "3f" * 32
OTHER = "a0" * 32
UID = "0f3d1c2b-8f6a-4c55-9d10-5ac7e1b2f904"
UNDERSCORED = UID.replace("-", "_")
STATIC = "c0ffee00c0ffee00c0ffee00c0ffee00"
BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice"

PATHS = {
    "containerd, systemd": (f"{BURSTABLE}/cri-containerd-{ID}.scope", ID, UID),
    "containerd, cgroupfs": (f"/kubepods/burstable/pod{UID}/{ID}", ID, UID),
    "containerd, cgroupfs, guaranteed": (f"/kubepods/pod{UID}/{ID}", ID, UID),
    "containerd, drivers at odds": (
        f"/system.slice/kubepods-burstable-pod{UNDERSCORED}.slice:cri-containerd:{ID}",
        ID,
        UID,
    ),
    "cri-o, systemd": (f"{BURSTABLE}/crio-{ID}.scope", ID, UID),
    "cri-o, systemd, a cgroup inside": (f"{BURSTABLE}/crio-{ID}.scope/container", ID, UID),
    "cri-o, cgroupfs": (f"/kubepods/besteffort/pod{UID}/crio-{ID}", ID, UID),
    "cri-o, the watching process": (f"{BURSTABLE}/crio-conmon-{ID}.scope", "", UID),
    "docker, systemd": (f"/system.slice/docker-{ID}.scope", ID, ""),
    "docker, cgroupfs": (f"/docker/{ID}", ID, ""),
    "docker, as the kubelet's runtime": (f"{BURSTABLE}/docker-{ID}.scope", ID, UID),
    "docker, an init inside": (f"/docker/{ID}/system.slice/cron.service", ID, ""),
    "podman, systemd": (f"/machine.slice/libpod-{ID}.scope/container", ID, ""),
    "podman, the watching process": (f"/machine.slice/libpod-conmon-{ID}.scope", "", ""),
    "podman, a pod of its own": (
        f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope",
        ID,
        "",
    ),
    "podman, cgroupfs": (f"/libpod_parent/libpod-{ID}", ID, ""),
    "podman, rootless": (
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
        ID,
        "",
    ),
    "a node inside a container": (
        f"/docker/{OTHER}/kubelet.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
        ID,
        UID,
    ),
    "a static pod, systemd": (f"/kubepods.slice/kubepods-pod{STATIC}.slice/crio-{ID}.scope", ID, STATIC),
    "a static pod, cgroupfs": (f"/kubepods/pod{STATIC}/{ID}", ID, STATIC),
    "a whole pod": (BURSTABLE, "", UID),
    "a class of pods": ("/kubepods.slice/kubepods-burstable.slice", "", ""),
    "a service": ("/system.slice/ssh.service", "", ""),
    "too long for an id": (f"/docker/{ID}ff", "", ""),
    "too short for an id": (f"/docker/{ID[2:]}", "", ""),
    "not hexadecimal": (f"/docker/{'g' * 64}", "", ""),
    "a name that ends like a pod": (f"/tripod{UID}", "", ""),
    "the root": ("/", "", ""),
    "unknown": ("", "", ""),
}


@pytest.mark.parametrize(("path", "container", "pod"), PATHS.values(), ids=PATHS)
def test_container_and_pod_are_read_from_the_path(path: str, container: str, pod: str) -> None:
    assert container_of(path) == Container(container, pod)
