"""What a cluster is made of: `python -m tests.kubernetes.parts` fetches and builds it, once.

Kubernetes is built from Debian's source package, as Debian has no servers of it; Go, etcd, containerd and the
network plugins are Debian's, unpacked and not installed. All lies in .kubernetes/. Starts nothing of it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.private_apt import AptError, PrivateApt, unpack

ROOT: Final = Path(__file__).resolve().parents[2]
STORE: Final = ROOT / ".kubernetes"
BIN: Final = STORE / "bin"
PACKAGES: Final = STORE / "packages"
SUITE: Final = "bookworm"
SOURCE: Final = "kubernetes"
VERSION: Final = "1.20.2"
"""Of the source package: the last that has all of Kubernetes, with what it is built on."""
PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
RUNNING: Final = ("etcd-server", "containerd", "containernetworking-plugins")
GO: Final = ("golang-1.19-go", "golang-1.19-src")


def main() -> None:
    """Fetch and build what is missing; says why it cannot."""
    apt = PrivateApt(STORE / "apt")
    try:
        if not PACKAGES.exists():
            apt.refresh([SUITE], "deb", "deb-src")
            unpack(apt.download(RUNNING), PACKAGES)
        if not BIN.exists():
            apt.refresh([SUITE], "deb", "deb-src")
            build(apt, STORE / "work")
    except (AptError, subprocess.CalledProcessError) as error:
        sys.exit(f"no cluster can be had: {error}")


def build(apt: PrivateApt, work: Path) -> None:
    """All programs; of the sources, the compiler and its cache nothing stays."""
    print(f"  go      {SOURCE} {VERSION}: a quarter of an hour or more, once", flush=True)  # noqa: T201
    began = time.monotonic()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    unpack(apt.download(GO), work / "go")
    tree = unpacked_source(apt, work)
    subprocess.run(
        ["make", f"WHAT={' '.join(f'cmd/{name}' for name in PROGRAMS)}", "GOLDFLAGS=-s -w"],
        cwd=tree,
        env=environment(work),
        check=True,
    )
    new = BIN.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name in PROGRAMS:
        shutil.copy2(tree / "_output/bin" / name, new / name)
    new.replace(BIN)
    shutil.rmtree(work)
    print(f"  built   in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201


def unpacked_source(apt: PrivateApt, work: Path) -> Path:
    """The patched sources, where Go looks for them."""
    apt.call("apt-get", "-qq", "source", "--only-source", SOURCE, cwd=work)
    (unpacked,) = (path for path in work.glob(f"{SOURCE}-*") if path.is_dir())
    tree = work / "gopath/src/k8s.io/kubernetes"
    tree.parent.mkdir(parents=True)
    return unpacked.rename(tree)


def environment(work: Path) -> dict[str, str]:
    """Of the build: the unpacked compiler, and a version, as there is no git tree to take it from."""
    go = work / "go/usr/lib/go-1.19"
    major, minor, _ = VERSION.split(".")
    version = work / "version"
    version.write_text(
        f"KUBE_GIT_COMMIT=debian\nKUBE_GIT_TREE_STATE=archive\nKUBE_GIT_VERSION=v{VERSION}\n"
        f"KUBE_GIT_MAJOR={major}\nKUBE_GIT_MINOR={minor}\n"
    )
    return {
        "PATH": os.pathsep.join([str(go / "bin"), os.environ["PATH"]]),
        "HOME": str(work),
        "GOROOT": str(go),
        "GOPATH": str(work / "gopath"),
        "GOCACHE": str(work / "cache"),
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "KUBE_GIT_VERSION_FILE": str(version),
    }


if __name__ == "__main__":
    main()
