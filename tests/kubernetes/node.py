"""One machine of a cluster on this one, with the control plane on it: etcd, API server, kubelet, containerd.

Mounts, network and cgroups are the node's own; process numbers are the machine's, as sensors tell them. All
lives in one cgroup, and ends with it (reaper). What is asked of the cluster is cluster.py's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from controlplane.arc.kernel.cgroups import find_mount
from tests.kubernetes.images import PAUSE, write_images
from tests.kubernetes.parts import BIN, PACKAGES, ROOT
from tests.patience import patient

NAME: Final = "node-1"
ADDRESS: Final = "192.168.77.2"
PODS: Final = "10.88.0.0/24"
SECONDS: Final = 1800
"""After which a node ends, whatever its test does."""
START_SECONDS: Final = 120
HERE: Final = Path(__file__).parent
ETCD: Final = "http://127.0.0.1:2379"
SOCKET: Final = "/run/containerd/containerd.sock"
CONTROLLERS: Final = "daemonset,garbagecollector,namespace,nodelifecycle,serviceaccount"
CONTAINERD: Final = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{folder}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runtime}"
"""
KUBECONFIG: Final = """\
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: admin}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
"""
NETWORK: Final = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "type": "ptp",
    "ipam": {"type": "host-local", "subnet": PODS, "routes": [{"dst": "0.0.0.0/0"}]},
}


class NodeError(Exception):
    """A part of the node does not run; the message has what it said."""


@contextmanager
def running_node() -> Iterator["Node"]:
    """With all parts at work; afterwards everything has ended and is gone. Raises NodeError."""
    mount = find_mount()
    assert mount is not None, "no cgroup2 hierarchy is mounted"
    cgroup = Path(mount) / f"reflexarc-k8s-{os.getpid()}"
    cgroup.mkdir()
    folder = Path(tempfile.mkdtemp(prefix="reflexarc-k8s-"))
    command = [sys.executable, "-m", "tests.kubernetes.reaper", str(cgroup), str(folder), str(SECONDS)]
    reaper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
    node = Node(cgroup, folder)
    try:
        node.start()
        yield node
    finally:
        reaper.communicate()
        node.reap()
    assert (reaper.returncode, cgroup.exists()) == (0, False)


class Node:
    """Its processes, from the first to the last."""

    def __init__(self, cgroup: Path, folder: Path) -> None:
        self.cgroup = cgroup
        self.kubeconfig = folder / "kubeconfig"
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self._first = 0

    def start(self) -> None:
        """Start all parts, each once those are ready that it needs; raises NodeError."""
        self._write_files()
        self._first = self._start_first()
        self._start_control_plane()
        self._start_runtime()

    def reap(self) -> None:
        """Once they have been ended."""
        for process in self._started:
            with process:
                process.wait()

    def log(self, name: str) -> str:
        """What a part said."""
        return (self._folder / f"{name}.log").read_text()

    def within(self, *command: str, namespaces: Sequence[str] = ("net",)) -> list[str]:
        """The command, as it is to be started from outside, in these namespaces of the node."""
        into = [f"--{namespace}" for namespace in namespaces]
        return ["nsenter", "--target", str(self._first), *into, "--", *command]

    def ctr(self, *arguments: str) -> list[str]:
        """The command that asks containerd about the images that the kubelet sees."""
        program = str(PACKAGES / "usr/bin/ctr")
        asked = [program, "--address", SOCKET, "--namespace", "k8s.io", *arguments]
        return self.within(*asked, namespaces=("mount",))

    def kubectl(self, *arguments: str) -> list[str]:
        """The command that asks the API server, as one who may do anything."""
        return self.within(
            "kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._folder}/kubectl", *arguments
        )

    def _write_files(self) -> None:
        for name in ("lib", "net.d"):
            (self._folder / name).mkdir()
        (self._folder / "net.d/10-pods.conf").write_text(json.dumps(NETWORK))
        (self._folder / "containerd.toml").write_text(
            CONTAINERD.format(
                folder=self._folder,
                socket=SOCKET,
                pause=PAUSE,
                plugins=PACKAGES / "usr/lib/cni",
                runtime=HERE / "runtime.py",
            )
        )
        self.kubeconfig.write_text(KUBECONFIG)
        (self._folder / "tokens").write_text("admin,admin,admin,system:masters\n")
        write_images(self._folder / "busybox.tar")
        run(["openssl", "genrsa", "-out", str(self._folder / "accounts.key"), "2048"])

    def _start_first(self) -> int:
        """The process whose namespaces are the node's; its number, once they are made."""
        unshare = ["unshare", "--mount", "--net", "--cgroup", "--"]
        shell = ["sh", str(HERE / "node.sh"), str(self._folder), ADDRESS]
        process = self._start_in(self.cgroup, [*unshare, *shell], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    def _start_control_plane(self) -> None:
        self._start(
            "etcd",
            PACKAGES / "usr/bin/etcd",
            "--data-dir=/run/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        )
        key = self._folder / "accounts.key"
        self._start(
            "kube-apiserver",
            BIN / "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--cert-dir={self._folder}/apiserver",
            "--bind-address=127.0.0.1",
            f"--advertise-address={ADDRESS}",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self._folder}/tokens",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
        )
        self._await("kube-apiserver", *self.kubectl("get", "--raw", "/readyz"))
        own = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1")
        self._start(
            "kube-controller-manager",
            BIN / "kube-controller-manager",
            *own,
            f"--controllers={CONTROLLERS}",
            f"--service-account-private-key-file={key}",
        )
        self._start("kube-scheduler", BIN / "kube-scheduler", *own)

    def _start_runtime(self) -> None:
        self._start("containerd", PACKAGES / "usr/bin/containerd", f"--config={self._folder}/containerd.toml")
        self._await("containerd", *self.ctr("version"))
        run(self.ctr("images", "import", str(self._folder / "busybox.tar")))
        self._start(
            "kubelet",
            BIN / "kubelet",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{SOCKET}",
            f"--kubeconfig={self.kubeconfig}",
            f"--cert-dir={self._folder}/kubelet",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
            "--authorization-mode=AlwaysAllow",
            "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false",
            "--enforce-node-allocatable=",
            "--eviction-hard=",
            "--fail-swap-on=false",
            "--image-gc-high-threshold=100",
            "--make-iptables-util-chains=false",
            "--oom-score-adj=0",
            "--sync-frequency=2s",
            "--volume-plugin-dir=/var/lib/kubelet/plugins",
        )

    def _await(self, name: str, *command: str) -> None:
        """Until the command succeeds; raises NodeError when the part has ended, or does not get there."""
        part = self._started[-1]
        end = time.monotonic() + patient(START_SECONDS)
        while (done := subprocess.run(command, check=False, capture_output=True, text=True)).returncode:
            if part.poll() is not None or time.monotonic() > end:
                raise NodeError(f"{name} does not get ready: {done.stderr}\n{self.log(name)[-4000:]}")

    def _start(self, name: str, program: Path, *arguments: str) -> None:
        """A service of the node, in a cgroup as systemd would name it."""
        cgroup = self.cgroup / f"system.slice/{name}.service"
        cgroup.mkdir(parents=True)
        command = self.within(str(program), *arguments, namespaces=("mount", "net", "cgroup"))
        with (self._folder / f"{name}.log").open("wb") as log:
            self._start_in(cgroup, command, stdout=log)

    def _start_in(
        self, cgroup: Path, command: Sequence[str], stdout: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        folders = [PACKAGES / "usr/bin", PACKAGES / "usr/sbin"]
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"], "/usr/sbin", "/sbin"])
        process = subprocess.Popen(
            ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(cgroup / "cgroup.procs"), *command],
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._started.append(process)
        return process


def run(command: Sequence[str]) -> str:
    """What it prints; raises NodeError when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NodeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
