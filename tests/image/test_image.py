"""The images as they are shipped: what is in them, how large they are, and a reflex of the daemon in one."""

import json
import re
import tarfile
from pathlib import Path
from typing import Final

import pytest

from tests.image.conftest import Image
from tests.image.running import CAPABILITIES, PRIVILEGED, container, python
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in

BILL: Final = "usr/share/doc/reflexarc/sbom.spdx.json"
LOCK: Final = Path(__file__).resolve().parents[2] / "deploy/image/requirements.txt"
LIMITS: Final = Path(__file__).with_name("sizes.json")
GROWTH: Final = 1.01
"""What an image may grow by before somebody has to say so in sizes.json."""
POLICY: Final = """
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
def files(image: Image) -> dict[str, bytes]:
    """Every file in the image."""
    found: dict[str, bytes] = {}
    with tarfile.open(image.archive) as whole:
        for member in whole:
            if member.name.endswith(".tar"):
                with tarfile.open(fileobj=whole.extractfile(member)) as layer:
                    for each in layer:
                        file = layer.extractfile(each) if each.isfile() else None
                        found[each.name] = file.read() if file is not None else b""
    return found


def test_there_is_no_shell_and_no_package_manager(files: dict[str, bytes]) -> None:
    programs = {Path(name).name for name in files if name.startswith(("usr/bin/", "bin/", "usr/sbin/"))}
    version = f"python{next(name for name in programs if name.startswith('python'))[6:]}"
    assert programs == {version, "reflexarc"}
    assert not [name for name in files if name.endswith((".py", "/pip", "/apt"))]


def test_it_has_not_grown(image: Image) -> None:
    allowed = json.loads(LIMITS.read_text())
    assert image.sizes["zstd"] <= allowed[image.kind] * GROWTH


def test_every_module_of_ours_can_be_imported(image: Image, files: dict[str, bytes]) -> None:
    code = (
        "import pkgutil, importlib, controlplane\n"
        "for each in pkgutil.walk_packages(controlplane.__path__, 'controlplane.'):\n"
        "    if each.name.endswith('__main__') or '.compiler' in each.name: continue\n"
        "    try: importlib.import_module(each.name)\n"
        "    except ModuleNotFoundError as error: print(each.name, error.name)\n"
    )
    done = python(image, files.keys(), code)
    missing = {line.split()[1] for line in done.stdout.splitlines()}
    assert (done.returncode, missing) == (0, {"rich"}), done.stderr  # of the extra `cli`


def test_every_default_policy_can_be_carried_out(image: Image, files: dict[str, bytes]) -> None:
    code = (
        "import sys, controlplane.policy as policy\n"
        "from controlplane.cli.main import main\n"
        "sys.argv = ['reflexarc', 'check', f'{policy.__path__[0]}/defaults']\n"
        "sys.exit(main())\n"
    )
    done = python(image, files.keys(), code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retransmit-storm" in done.stdout  # it shapes: its messages are encoded by pyroute2


@pytest.mark.timeout(120)
@pytest.mark.parametrize("privileges", [PRIVILEGED, CAPABILITIES], ids=["privileged", "capabilities"])
def test_it_ends_a_storm_on_the_host(image: Image, cgroup: TestCgroup, privileges: tuple[str, ...]) -> None:
    with container() as made:
        (made.folder / "policies.d/storm.yaml").write_text(POLICY.format(path=cgroup.path))
        with made.running(image, *privileges):
            assert made.is_healthy()
            fork_in(cgroup.run(*FORKER), 1000)
            await_until(lambda: "populated 0" in cgroup.read("cgroup.events"), 20)
        assert "arc.armed" in made.said
        assert made.code == 0, made.said
        assert list((made.folder / "state/journal").iterdir())


def test_the_bill_names_all_that_is_in_it(files: dict[str, bytes]) -> None:
    urls = {
        reference["referenceLocator"]
        for package in json.loads(files[BILL])["packages"]
        for reference in package["externalRefs"]
    }
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    assert len(locked) > 20
    wheels = {f"pkg:pypi/{re.sub('[-_.]+', '-', name)}@{version}" for name, version in locked}
    listed = {re.sub("[_.]+(?=.*@)", "-", url) for url in urls if url.startswith("pkg:pypi/")}
    assert wheels == {url for url in listed if not url.startswith("pkg:pypi/reflexarc@")}
    debian = {url.split("/")[2].split("@")[0] for url in urls if url.startswith("pkg:deb/")}
    assert {"libbpf1", "libc6", "libssl3t64", "python3.13-minimal", "python3-cryptography"} <= debian
