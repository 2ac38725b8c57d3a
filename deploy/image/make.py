"""Builds the image with buildah: `make.py [--variant core|bcc]`; what `make image` runs.

With `--machine aarch64`, where its programs run (foreign.py), for another machine.

Where the base image is at hand it is taken, else pulled, else made of Debian's packages (mmdebstrap), as
there may be no registry. Equal sources, packages and wheels give an equal image, which `--twice` shows.
"""

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from layers import differences

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
BASE: Final = "docker.io/library/debian:trixie-slim"
SUITE: Final = "trixie"
VARIANTS: Final = ("core", "bcc")
DEBIANS: Final = {"aarch64": "arm64", "x86_64": "amd64"}
"""Machine -> its name with Debian and in images."""
PROXY_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Given to pip alone, for the time of the build: behind a proxy there may be one more authority."""
MIB: Final = 1 << 20


def main() -> None:
    """Build, save, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default="core")
    parser.add_argument("--machine", choices=DEBIANS, default=platform.machine())
    parser.add_argument("--twice", action="store_true", help="from nothing once more, and compare")
    parser.add_argument("--output", type=Path, default=ROOT / "build/image")
    options = parser.parse_args()
    variant, output, machine = options.variant, options.output, options.machine
    name = f"localhost/reflexarc:{variant}"
    ensure_base(machine, output)
    build(name, machine, variant)
    sizes = save(name, output, f"reflexarc-{variant}-{machine}")
    print(" ".join(f"{word} {size / MIB:.1f} MiB" for word, size in sizes.items()))
    if options.twice:
        again = f"{name}-again"
        build(again, machine, variant, "--no-cache")
        compare(name, again, output)


def ensure_base(machine: str, output: Path) -> None:
    """Have the base image in the store."""
    if run("podman", "image", "exists", BASE, check=False) == 0:
        return
    debian = DEBIANS[machine]
    if run("podman", "pull", "-q", "--arch", debian, BASE, check=False) == 0:
        return
    made = output / "base.tar"
    made.parent.mkdir(parents=True, exist_ok=True)
    # In a user namespace no device can be made.
    foreign = ("--skip=check/qemu,output/dev",) if machine != platform.machine() else ()
    run(
        *("mmdebstrap", "-q", "--variant=minbase", "--include=ca-certificates", f"--arch={debian}"),
        *(*foreign, SUITE, str(made)),
    )
    run("podman", "import", "-q", "--arch", debian, str(made), BASE)
    made.unlink()


def build(name: str, machine: str, variant: str, *more: str) -> None:
    """As the Dockerfile says; times are those of the last commit."""
    epoch = capture("git", "-C", str(ROOT), "log", "-1", "--format=%ct").strip() or "0"
    secret = ("--secret", f"id=ca,src={PROXY_CERTIFICATES}") if PROXY_CERTIFICATES.exists() else ()
    run(
        *("buildah", "bud", "--quiet", "--isolation", "chroot", "--layers", "--timestamp", epoch),
        *("--platform", f"linux/{DEBIANS[machine]}", *secret, *more),
        *("--build-arg", f"SOURCE_DATE_EPOCH={epoch}"),
        *("--build-arg", f"VARIANT={variant}", "--tag", name, str(ROOT)),
    )


def save(name: str, output: Path, stem: str) -> dict[str, int]:
    """The image as an archive, and compressed; bytes of each."""
    output.mkdir(parents=True, exist_ok=True)
    archive, packed = output / f"{stem}.tar", output / f"{stem}.tar.zst"
    export(name, archive)
    run("zstd", "-q", "-f", "-19", "-T0", str(archive), "-o", str(packed))
    zipped = gzip.compress(archive.read_bytes(), 6)
    sizes = {"plain": archive.stat().st_size, "gzip": len(zipped), "zstd": packed.stat().st_size}
    (output / f"{stem}.json").write_text(json.dumps({"image": name} | sizes) + "\n")
    return sizes


def export(name: str, archive: Path) -> None:
    """As `podman load` takes it."""
    archive.unlink(missing_ok=True)
    run("podman", "save", "-q", "--format", "docker-archive", "-o", str(archive), name)


def compare(name: str, again: str, output: Path) -> None:
    """Say that they are equal, or which files are not and exit with 1."""
    ids = [capture("podman", "image", "inspect", "--format", "{{.Digest}}", each) for each in (name, again)]
    if ids[0] == ids[1]:
        print(f"twice the same: {ids[0].strip()}")
        return
    archives = [output / "one.tar", output / "other.tar"]
    for each, archive in zip((name, again), archives, strict=True):
        export(each, archive)
    sys.exit("\n".join(["these differ:", *differences(*archives)]))


def run(*command: str, check: bool = True) -> int:
    """Its exit status; what it says goes to stderr."""
    if shutil.which(command[0]) is None:
        raise SystemExit(f"{command[0]} is not installed: make packages PACKAGES='{command[0]}'")
    environment = {**os.environ, "BUILDAH_FORMAT": "oci"}
    return subprocess.run(command, check=check, stdout=2, env=environment).returncode


def capture(*command: str) -> str:
    """What it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
