"""What reaches the image's build context: the sources, and nothing that was built or is secret."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"a decoy: private and of no use"
DECOYS = (
    *(
        "a.exe",
        "a.test",
        "a.out",
        "a.o",
        "a.so",
        "a.pyc",
        "__pycache__/a",
        ".venv/a",
        "venv/a",
        ".mypy_cache/a",
    ),
    *("build/a", "dist/a", "a.egg-info/a", ".git/a", "a.qcow2", "a.vmdk", "a.box", "a.iso", ".vagrant/a"),
    *("a.key", "a.pem", "a.crt", "a.p12", "id_ed25519", ".env", ".env.local", ".ssh/a", "kubeconfig", "core"),
)
FOLDERS = ("", "bpf", "controlplane", "controlplane/arc/kernel", "deploy/image")
UNNAMED = ("docs/a.md", "tests/a.py", "secrets.yaml", "vagrant/a", "deploy/kubernetes/a.yaml")

pytestmark = pytest.mark.skipif(not shutil.which("buildah"), reason="buildah is not installed: make image")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of every layer of an image that takes all it is given: name and content."""
    folder = tmp_path_factory.mktemp("context")
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for decoy in (*(f"{at}/{name}" for at in FOLDERS for name in DECOYS), *UNNAMED):
        target = folder / decoy.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(SECRET)
    (folder / "Everything").write_text("FROM scratch\nCOPY . /\n")
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    command = ("buildah", "bud", "-q", "-f", "Everything", "-t", f"docker-archive:{archive}", ".")
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return dict(files_of(archive))


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def files_of(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as image:
        layers = [member for member in image if member.name.endswith(".tar") or "/layer" in member.name]
        assert layers
        for member in layers:
            with tarfile.open(fileobj=image.extractfile(member)) as layer:
                for each in layer:
                    data = layer.extractfile(each) if each.isfile() else None
                    if data is not None:
                        yield os.path.normpath(each.name), data.read()


def test_no_decoy_reaches_a_layer(context: dict[str, bytes]) -> None:
    assert [name for name, content in context.items() if SECRET in content] == []


def test_all_sources_do(context: dict[str, bytes]) -> None:
    wanted = [name for name in tracked() if name.startswith(("bpf/", "controlplane/", "deploy/image/"))]
    assert len(wanted) > 100
    assert [name for name in wanted if name not in context] == []


def test_nothing_else_does(context: dict[str, bytes]) -> None:
    tops = {name.partition("/")[0] for name in context}
    assert tops == {"LICENSE", "README.md", "bpf", "controlplane", "deploy", "pyproject.toml", "setup.py"}
