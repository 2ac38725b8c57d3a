"""Looks into saved images: what is in their layers, and how two that should be equal differ."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path


def differences(one: Path, other: Path) -> list[str]:
    """Names that only one of the archives has, or that are something else in each."""
    here, there = dict(entries(one)), dict(entries(other))
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))


def entries(archive: Path) -> Iterator[tuple[str, str]]:
    """Every file of every layer, and what is said of it; and the image's own description."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(opened(image, "manifest.json"))
        for number, layer in enumerate(manifest["Layers"]):
            with tarfile.open(fileobj=opened(image, layer)) as files:
                for each in files:
                    content = opened(files, each.name).read() if each.isfile() else b""
                    digest = hashlib.sha256(content).hexdigest()
                    yield f"layer {number} {each.name}", f"{each.get_info()} {digest}"
        for key, value in json.load(opened(image, manifest["Config"])).items():
            yield f"description {key}", json.dumps(value)


def opened(archive: tarfile.TarFile, name: str) -> "tarfile.ExFileObject":
    """One of its files."""
    file = archive.extractfile(name)
    assert isinstance(file, tarfile.ExFileObject)
    return file
