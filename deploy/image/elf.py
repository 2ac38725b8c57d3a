"""Shared objects: what they need of each other, and what is in them for nobody who runs them."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

RUNTIMES: Final = ("libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libstdc++.so.6")
"""Every symbol of these has a version: who names none of theirs uses nothing of them."""


def needed(natives: Iterable[Path], folder: Path) -> Iterator[Path]:
    """Where in `folder` the shared objects are that these need, and those that they need in turn."""
    seen: set[str] = set()
    todo = list(natives)
    while todo:
        for name in needs(todo.pop()):
            if name not in seen:
                seen.add(name)
                todo.append(folder / name)
                yield folder / name


def needs(path: Path) -> list[str]:
    """Names of the shared objects that one is linked to."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("--dynamic", path))


def let_go(natives: Iterable[Path]) -> None:
    """Of libraries that they are linked to, and use nothing of."""
    for path in natives:
        used = set(re.findall(r"File: (\S+)", readelf("--version-info", path)))
        for name in {*needs(path)}.intersection(RUNTIMES).difference(used):
            subprocess.run(["patchelf", "--remove-needed", name, path], check=True)


def strip(natives: Iterable[Path]) -> None:
    """Symbols are for debuggers."""
    subprocess.run(["strip", "--strip-unneeded", *natives], check=True)


def readelf(what: str, path: Path) -> str:
    """What it prints."""
    command = ("readelf", "--wide", what, path)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
