"""Images of one program, busybox: what holds a pod's network, and what the tests' own pods run."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, Final

PAUSE: Final = "localhost/pause:1"
BUSYBOX: Final = "localhost/busybox:1"
COMMANDS: Final = {PAUSE: ["sleep", "1000000"], BUSYBOX: ["sh"]}


def write_images(archive: Path) -> None:
    """All of them, as `docker save` writes them."""
    program = shutil.which("busybox")
    assert program is not None, "busybox-static is not installed"
    layer = _layer(Path(program))
    with tarfile.open(archive, "w") as target:
        _add(target, "layer.tar", layer)
        listed = []
        for number, (name, command) in enumerate(COMMANDS.items()):
            _add(target, f"{number}.json", json.dumps(_config(command, layer)).encode())
            listed.append({"Config": f"{number}.json", "RepoTags": [name], "Layers": ["layer.tar"]})
        _add(target, "manifest.json", json.dumps(listed).encode())


def _config(command: list[str], layer: bytes) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", *command], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }


def _layer(program: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        _add(layer, "bin/busybox", program.read_bytes(), 0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
