"""An apt with sources, lists and cache of its own, for packages that are unpacked and not installed.

The machine's apt is only asked for its mirror and its proxy settings; its sources, lists and packages stay as
they are.
"""

import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_HOURS: Final = 12


class AptError(Exception):
    """A package cannot be had; the message says why."""


class PrivateApt:
    """Keeps everything in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lists = folder / "lists"
        for path in (self._lists / "partial", folder / "archives/partial"):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()

    def refresh(self, suites: Iterable[str], *kinds: str) -> None:
        """Fetch the lists of all suites, unless that was lately done for the same; raises AptError.

        `kinds`: `deb`, `deb-src`; without any the first.
        """
        sources = "".join(_source(kind, suite) for suite in sorted({*suites}) for kind in kinds or ("deb",))
        file, stamp = self._folder / "sources.list", self._folder / "refreshed"
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_HOURS * 3600
        if fresh and file.read_text() == sources:
            return
        file.write_text(sources)
        self.call("apt-get", "-qq", "update")
        stamp.touch()

    def index(self, suite: str) -> str:
        """All that the lists say of the packages of a suite; raises AptError."""
        files = [path for path in self._lists.glob(f"*_dists_{suite}_*Packages*") if path.is_file()]
        if not files:
            raise AptError(f"the mirror has no suite {suite}")
        return self.call("/usr/lib/apt/apt-helper", "cat-file", *map(str, files))

    def download(self, packages: Iterable[str]) -> list[Path]:
        """Fetch and check them; raises AptError."""
        target = self._folder / "archives"
        for old in target.glob("*.deb"):
            old.unlink()
        self.call("apt-get", "-qq", "download", *packages, cwd=target)
        return sorted(target.glob("*.deb"))

    def call(self, *command: str, cwd: Path | None = None) -> str:
        """What a program of apt prints; raises AptError."""
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
            raise AptError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()}")
        return done.stdout


def unpack(packages: Iterable[Path], folder: Path) -> None:
    """The folder appears whole or not at all; the packages are deleted."""
    new = folder.with_suffix(f"{folder.suffix}.new")
    shutil.rmtree(new, ignore_errors=True)
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", package, new], check=True)
        package.unlink()
    new.replace(folder)


def _source(kind: str, suite: str) -> str:
    """A line of sources.list, on the mirror that the machine itself uses."""
    ending = "-security" if suite.endswith("-security") else ""
    own = platform.freedesktop_os_release()["VERSION_CODENAME"] + ending
    if own not in (mirrors := _machine_mirrors()):
        raise AptError(f"the machine's apt has no source {own}, so no mirror is known that has {suite}")
    return f"{kind} [signed-by={KEYRING}] {mirrors[own]} {suite} main\n"


def _machine_mirrors() -> dict[str, str]:
    """Release -> mirror, of each source of the machine."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
