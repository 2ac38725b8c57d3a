"""Builds the image with buildah: `make.py [--variant core|bcc] [--output DIR]`; what `make image` runs.

Where the base image is at hand it is taken, else pulled, else made of Debian's packages (mmdebstrap), as
there may be no registry. Equal sources, packages and wheels give an equal image.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BASE: Final = "docker.io/library/debian:trixie-slim"
SUITE: Final = "trixie"
VARIANTS: Final = ("core", "bcc")
PROXY_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Given to pip alone, for the time of the build: behind a proxy there may be one more authority."""
MIB: Final = 1 << 20


def main() -> None:
    """Build, save, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default="core")
    parser.add_argument("--output", type=Path, default=ROOT / "build/image")
    options = parser.parse_args()
    ensure_base()
    name = f"localhost/reflexarc:{options.variant}"
    build(name, options.variant)
    sizes = save(name, options.output, f"reflexarc-{options.variant}-{platform.machine()}")
    print(" ".join(f"{word} {size / MIB:.1f} MiB" for word, size in sizes.items()))


def ensure_base() -> None:
    """Have the base image in the store."""
    if run("podman", "image", "exists", BASE, check=False) == 0:
        return
    if run("podman", "pull", "-q", BASE, check=False) == 0:
        return
    made = ROOT / "build/image/base.tar"
    made.parent.mkdir(parents=True, exist_ok=True)
    run("mmdebstrap", "-q", "--variant=minbase", "--include=ca-certificates", SUITE, str(made))
    run("podman", "import", "-q", str(made), BASE)
    made.unlink()


def build(name: str, variant: str) -> None:
    """As the Dockerfile says; times are those of the last commit."""
    epoch = capture("git", "-C", str(ROOT), "log", "-1", "--format=%ct").strip() or "0"
    secret = ("--secret", f"id=ca,src={PROXY_CERTIFICATES}") if PROXY_CERTIFICATES.exists() else ()
    run(
        *("buildah", "bud", "--quiet", "--isolation", "chroot", "--layers", "--timestamp", epoch, *secret),
        *("--build-arg", f"SOURCE_DATE_EPOCH={epoch}", "--build-arg", f"VARIANT={variant}"),
        *("--tag", name, str(ROOT)),
    )


def save(name: str, output: Path, stem: str) -> dict[str, int]:
    """The image as an archive, and compressed; bytes of each."""
    output.mkdir(parents=True, exist_ok=True)
    archive, packed = output / f"{stem}.tar", output / f"{stem}.tar.zst"
    archive.unlink(missing_ok=True)
    run("podman", "save", "-q", "--format", "docker-archive", "-o", str(archive), name)
    run("zstd", "-q", "-f", "-19", "-T0", str(archive), "-o", str(packed))
    sizes = {"plain": archive.stat().st_size, "zstd": packed.stat().st_size}
    (output / f"{stem}.json").write_text(json.dumps({"image": name} | sizes) + "\n")
    return sizes


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
