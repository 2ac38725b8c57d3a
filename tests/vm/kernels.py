"""The kernels of vagrant/kernels.yaml: which package each is, fetched by an apt of its own, and unpacked.

The machine's apt is only asked for its mirror and its proxy settings; its sources, lists and packages stay as
they are. Debian's cloud flavour is taken: it is small, and everything a guest needs is in it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.private_apt import AptError, PrivateApt, unpack

ROOT: Final = Path(__file__).resolve().parents[2]
LIST: Final = ROOT / "vagrant/kernels.yaml"
STORE: Final = ROOT / ".kernels"
FLAVOUR: Final = "cloud-amd64"
PARTS: Final = ("linux-image", "linux-base", "linux-binary", "linux-modules")
"""Packages of one kernel: all is in the first, since Linux 7.2 in the others."""


class KernelError(Exception):
    """A kernel cannot be had; the message says why."""


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of kernels.yaml."""

    name: str
    series: str
    suite: str


class _Kernels(msgspec.Struct, forbid_unknown_fields=True):
    kernels: list[Kernel]


@dataclass(frozen=True)
class Unpacked:
    """Files of one kernel: the compressed image, its modules, its headers as /usr/src has them."""

    release: str
    image: Path
    modules: Path
    headers: Path


def listed() -> list[Kernel]:
    """All of kernels.yaml, in its order."""
    return msgspec.yaml.decode(LIST.read_bytes(), type=_Kernels).kernels


def chosen(names: Iterable[str]) -> list[Kernel]:
    """Those of these names, all without any; raises KernelError for one that is not listed."""
    known = {kernel.name: kernel for kernel in listed()}
    if unknown := [name for name in names if name not in known]:
        raise KernelError(
            f"{', '.join(unknown)}: not in {LIST.relative_to(ROOT)}, which has {', '.join(known)}"
        )
    return [known[name] for name in names] or list(known.values())


def fetched(kernel: Kernel) -> Unpacked:
    """Its newest release, from the store or from the mirror; raises KernelError."""
    try:
        return _fetched(kernel, PrivateApt(STORE / "apt"))
    except AptError as error:
        raise KernelError(f"no kernel can be had: {error}") from error


def _fetched(kernel: Kernel, apt: PrivateApt) -> Unpacked:
    available = _available(apt, kernel.suite)
    release, packages = newest(kernel, available)
    folder, headers = STORE / release, STORE / f"headers-{release}"
    if not folder.exists():
        unpack(apt.download(packages), folder)
    if not headers.exists():
        unpack(apt.download(headers_of(release, available)), headers)
    return _files(release, folder, headers / "usr/src")


def newest(kernel: Kernel, available: dict[str, str]) -> tuple[str, list[str]]:
    """The release and its packages as `name=version`. `available`: name -> version, of one suite."""
    form = re.compile(rf"(?:{'|'.join(PARTS)})-([0-9]+\.[0-9]\S*-{FLAVOUR})")
    releases = {match[1] for name in available if (match := form.fullmatch(name))}
    if kernel.series:
        releases = {release for release in releases if release.startswith(f"{kernel.series}.")}
    if not releases:
        raise KernelError(f"{kernel.suite} has no {FLAVOUR} kernel {kernel.series}".rstrip())
    release = max(releases, key=_order)
    names = [f"{part}-{release}" for part in PARTS if f"{part}-{release}" in available]
    return release, [f"{name}={available[name]}" for name in names]


def headers_of(release: str, available: dict[str, str]) -> list[str]:
    """Packages of its headers as `name=version`: its own, and those that it shares with other flavours."""
    names = (f"linux-headers-{release}", f"linux-headers-{release.removesuffix(FLAVOUR)}common")
    if missing := [name for name in names if name not in available]:
        raise KernelError(f"{release}: there is no {', '.join(missing)}")
    return [f"{name}={available[name]}" for name in names]


def _order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def _available(apt: PrivateApt, suite: str) -> dict[str, str]:
    """Package -> version of what the suite has; raises AptError."""
    apt.refresh({each.suite for each in listed()})
    text = apt.index(suite)
    return dict(re.findall(r"^Package: (linux-\S+)\n(?:.+\n)*?Version: (\S+)$", text, re.MULTILINE))


def _files(release: str, folder: Path, headers: Path) -> Unpacked:
    images = [*folder.rglob("vmlinuz*")]
    modules = [path for path in folder.rglob(f"modules/{release}") if path.is_dir()]
    if len(images) != 1 or len(modules) != 1:
        raise KernelError(f"{release}: unpacked, but there is no image or no modules in {folder}")
    return Unpacked(release, images[0], modules[0], headers)
