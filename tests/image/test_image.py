"""The image as it is shipped: what is in it, how large it is, and a reflex of the daemon that runs in it."""

import json
import re
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.client import Client, HealthClient, Target
from tests.image.conftest import BUILT
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in

BILL = "/usr/share/doc/reflexarc/sbom.spdx.json"
LOCK = Path(__file__).resolve().parents[2] / "deploy/image/requirements.txt"
LIMITS = Path(__file__).with_name("sizes.json")
GROWTH = 1.01
"""What an image may grow by before somebody has to say so in sizes.json."""
RUN = (
    *("podman", "--runtime", "runc", "run", "--rm", "--read-only", "--network", "host"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
CAPABILITIES = (
    *("BPF", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "KILL", "NET_ADMIN", "PERFMON", "SETGID"),
    *("SETPCAP", "SETUID", "SYS_ADMIN", "SYS_NICE", "SYS_PTRACE"),
)
"""Each with its reason in docs/operations.md."""
POLICY = """
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: image-storm}}
spec:
  signal: process.fork
  scope: {{cgroups: ["{path}"]}}
  test: {{kind: threshold, above: 100/s, over: 200ms}}
  ladder: [{{act: freeze, for: 1h}}, {{act: kill, after: 300ms}}]
  mode: enforce
"""


@pytest.fixture(scope="module")
def names(image: str) -> set[str]:
    """Every file in the image."""
    stem = image.rpartition(":")[2]
    (archive,) = BUILT.glob(f"reflexarc-{stem}-*.tar")
    found: set[str] = set()
    with tarfile.open(archive) as whole:
        for member in whole:
            if member.name.endswith(".tar"):
                with tarfile.open(fileobj=whole.extractfile(member)) as layer:
                    found.update(layer.getnames())
    return found


def test_there_is_no_shell_and_no_package_manager(names: set[str]) -> None:
    programs = {Path(name).name for name in names if name.startswith(("usr/bin/", "bin/", "usr/sbin/"))}
    version = f"python{next(name for name in programs if name.startswith('python'))[6:]}"
    assert programs == {version, "reflexarc"}
    assert not [name for name in names if name.endswith((".py", "/pip", "/apt"))]


def test_it_has_not_grown(sizes: dict[str, int]) -> None:
    allowed = json.loads(LIMITS.read_text())
    assert sizes["zstd"] <= allowed["core"] * GROWTH


def test_every_module_of_ours_can_be_imported(image: str, names: set[str]) -> None:
    code = (
        "import pkgutil, importlib, controlplane\n"
        "for each in pkgutil.walk_packages(controlplane.__path__, 'controlplane.'):\n"
        "    if each.name.endswith('__main__') or '.compiler' in each.name: continue\n"
        "    try: importlib.import_module(each.name)\n"
        "    except ModuleNotFoundError as error: print(each.name, error.name)\n"
    )
    (python,) = (name for name in names if name.startswith("usr/bin/python"))
    command = (*RUN, "--entrypoint", f"/{python}", image, "-c", code)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    missing = {line.split()[1] for line in done.stdout.splitlines()}
    assert (done.returncode, missing) == (0, {"rich"}), done.stderr  # of the extra `cli`


class Running:
    """A container of the image, with folders of its own."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.folder = folder
        self.health = f"127.0.0.1:{ports[0]}"
        self.metrics = f"127.0.0.1:{ports[1]}"
        for name in ("run", "state", "policies.d"):
            (folder / name).mkdir()

    def command(self, image: str, *privileges: str) -> list[str]:
        """To start it; its name is that of the folder."""
        return [
            *RUN,
            *("--name", self.folder.name, "--pid", "host", *privileges),
            *("-v", "/sys/kernel/tracing:/sys/kernel/tracing:ro", "-v", "/sys/fs/cgroup:/sys/fs/cgroup"),
            *("-v", f"{self.folder}/run:/run/reflexarc", "-v", f"{self.folder}/state:/var/lib/reflexarc"),
            *("-v", f"{self.folder}/policies.d:/etc/reflexarc/policies.d:ro"),
            *(image, "run", "--mode", "enforce", "--policies", "/etc/reflexarc/policies.d"),
            *("--health", self.health, "--metrics", self.metrics),
        ]


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def running() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="reflexarc-image-") as folder:
        made = Running(Path(folder), free_ports())
        Path(folder).chmod(0o755)
        yield made
        subprocess.run(["podman", "kill", "-s", "TERM", made.folder.name], check=False, capture_output=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "privileges",
    [("--privileged",), ("--cap-drop=all", *(f"--cap-add={name}" for name in CAPABILITIES))],
    ids=["privileged", "capabilities"],
)
def test_it_ends_a_storm_on_the_host(
    image: str, running: Running, cgroup: TestCgroup, privileges: tuple[str, ...]
) -> None:
    (running.folder / "policies.d/storm.yaml").write_text(POLICY.format(path=cgroup.path))
    with subprocess.Popen(
        running.command(image, *privileges), stderr=subprocess.PIPE, text=True
    ) as container:
        try:
            with Client(Target(socket=str(running.folder / "run/management.sock"))) as client:
                client.wait()
            with HealthClient(running.health) as health:
                assert health.components()[""] == "serving"
            fork_in(cgroup.run(*FORKER), 1000)
            await_until(lambda: "populated 0" in cgroup.read("cgroup.events"), 20)
        finally:
            subprocess.run(["podman", "kill", "-s", "TERM", running.folder.name], check=False)
            _, said = container.communicate(timeout=30)
    assert "arc.armed" in said
    assert container.returncode == 0, said
    assert list((running.folder / "state/journal").iterdir())


def test_the_bill_names_all_that_is_in_it(image: str) -> None:
    copied = subprocess.run(
        [*RUN, "--entrypoint", "/usr/bin/python3.13", image, "-c", f"print(open('{BILL}').read())"],
        check=True,
        capture_output=True,
    ).stdout
    urls = {
        reference["referenceLocator"]
        for package in json.loads(copied)["packages"]
        for reference in package["externalRefs"]
    }
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    assert len(locked) > 20
    wheels = {f"pkg:pypi/{re.sub('[-_.]+', '-', name)}@{version}" for name, version in locked}
    listed = {re.sub("[_.]+(?=.*@)", "-", url) for url in urls if url.startswith("pkg:pypi/")}
    assert wheels == {url for url in listed if not url.startswith("pkg:pypi/reflexarc@")}
    debian = {url.split("/")[2].split("@")[0] for url in urls if url.startswith("pkg:deb/")}
    assert {"libbpf1", "libc6", "libssl3t64", "python3.13-minimal", "python3-cryptography"} <= debian
