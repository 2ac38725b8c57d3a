"""The kernels of vagrant/kernels.yaml: which package each is, fetched by an apt of its own, and unpacked.

The machine's apt is only asked for its mirror and its proxy settings; its sources, lists and packages stay as
they are. Debian's cloud flavour is taken: it is small, and everything a guest needs is in it.
"""

import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
LIST: Final = ROOT / "vagrant/kernels.yaml"
STORE: Final = ROOT / ".kernels"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
FLAVOUR: Final = "cloud-amd64"
PARTS: Final = ("linux-image", "linux-base", "linux-binary", "linux-modules")
"""Packages of one kernel: all is in the first, since Linux 7.2 in the others."""
LISTS_HOURS: Final = 12


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
    apt = _Apt(STORE / "apt")
    available = apt.available(kernel.suite)
    release, packages = newest(kernel, available)
    folder, headers = STORE / release, STORE / f"headers-{release}"
    if not folder.exists():
        _unpack(apt.download(packages), folder)
    if not headers.exists():
        _unpack(apt.download(headers_of(release, available)), headers)
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


def _unpack(packages: list[Path], folder: Path) -> None:
    """The folder appears whole or not at all."""
    new = folder.with_suffix(f"{folder.suffix}.new")
    shutil.rmtree(new, ignore_errors=True)
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", package, new], check=True)
        package.unlink()
    new.replace(folder)


def _files(release: str, folder: Path, headers: Path) -> Unpacked:
    images = [*folder.rglob("vmlinuz*")]
    modules = [path for path in folder.rglob(f"modules/{release}") if path.is_dir()]
    if len(images) != 1 or len(modules) != 1:
        raise KernelError(f"{release}: unpacked, but there is no image or no modules in {folder}")
    return Unpacked(release, images[0], modules[0], headers)


class _Apt:
    """An apt with sources, lists and cache in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lists = folder / "lists"
        for path in (self._lists / "partial", folder / "archives/partial"):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()

    def available(self, suite: str) -> dict[str, str]:
        """Package -> version of what the suite has; raises KernelError."""
        self._refresh()
        files = [path for path in self._lists.glob(f"*_dists_{suite}_*Packages*") if path.is_file()]
        if not files:
            raise KernelError(f"the mirror has no suite {suite}")
        text = self._call("/usr/lib/apt/apt-helper", "cat-file", *map(str, files))
        return dict(re.findall(r"^Package: (linux-\S+)\n(?:.+\n)*?Version: (\S+)$", text, re.MULTILINE))

    def download(self, packages: list[str]) -> list[Path]:
        """Fetch and check them; raises KernelError."""
        target = self._folder / "archives"
        for old in target.glob("*.deb"):
            old.unlink()
        self._call("apt-get", "-qq", "download", *packages, cwd=target)
        return sorted(target.glob("*.deb"))

    def _refresh(self) -> None:
        """Fetch the lists of all suites, unless that was lately done for the same sources."""
        sources = "".join(f"{self._source(suite)}\n" for suite in sorted({each.suite for each in listed()}))
        file, stamp = self._folder / "sources.list", self._folder / "refreshed"
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_HOURS * 3600
        if fresh and file.read_text() == sources:
            return
        file.write_text(sources)
        self._call("apt-get", "-qq", "update")
        stamp.touch()

    def _source(self, suite: str) -> str:
        """A line of sources.list, on the mirror that the machine itself uses."""
        ending = "-security" if suite.endswith("-security") else ""
        own = platform.freedesktop_os_release()["VERSION_CODENAME"] + ending
        if own not in (mirrors := _machine_mirrors()):
            raise KernelError(
                f"the machine's apt has no source {own}, so no mirror is known that has {suite}"
            )
        return f"deb [signed-by={KEYRING}] {mirrors[own]} {suite} main"

    def _call(self, *command: str, cwd: Path | None = None) -> str:
        own = {
            "Dir::Etc::sourcelist": str(self._folder / "sources.list"),
            "Dir::Etc::sourceparts": "-",
            "Dir::State": str(self._folder),
            "Dir::State::status": str(self._folder / "status"),
            "Dir::Cache": str(self._folder),
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
        }
        options = [word for name, value in own.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [command[0], *options, *command[1:]], cwd=cwd, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KernelError(f"no kernel can be had; `{' '.join(command)}` failed:\n{done.stderr.strip()}")
        return done.stdout


def _machine_mirrors() -> dict[str, str]:
    """Release -> mirror, of each source of the machine."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
