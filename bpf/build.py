"""Compiles every sensor, `bpf/*.bpf.c`, to a CO-RE object: `python bpf/build.py OUT_DIR`.

The one place that knows the compiler's command line; `make setup` and the packaging hook in setup.py both
run this file. Objects newer than their sources are left alone. Needs clang, bpftool and libbpf's headers.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUFFIX = ".bpf.c"
NO_FETCH = ("-DREFLEXARC_NO_FETCH",)
PLAIN: dict[str, tuple[str, ...]] = {".bpf.o": ()}
VARIANTS = PLAIN | {".nofetch.bpf.o": NO_FETCH}
"""Of each sensor one for kernels before Linux 5.12, where an atomic addition does not say what it found."""
SOURCES = "source"
"""Folder beside the objects."""
TARGET_ARCH = {"x86_64": "x86", "aarch64": "arm64"}
"""Machine -> the name bpf_tracing.h selects registers by."""


def compile_command(source: Path, output: Path, *more: str) -> list[str]:
    """The call of clang for one sensor.

    -mcpu=v3: 32-bit registers and jumps, which every kernel with a BPF ring buffer (5.8) verifies.
    -g: without it there is no BTF, hence no CO-RE. Run in the source's folder and told that this is ".",
    clang puts no path of this machine into it: equal sources give equal objects.
    """
    machine = platform.machine()
    return [
        "clang",
        *("-std=gnu11", "-O2", "-g", "-target", "bpf", "-mcpu=v3"),
        *("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"),
        f"-D__TARGET_ARCH_{TARGET_ARCH[machine]}",
        "-fdebug-compilation-dir=.",
        *more,
        f"-I{os.path.relpath(HERE, source.parent)}",
        *("-idirafter", f"/usr/include/{sysconfig.get_config_var('MULTIARCH') or f'{machine}-linux-gnu'}"),
        *("-c", source.name, "-o", str(output)),
    ]


def build_object(source: Path, target: Path, *more: str) -> None:
    """Compile one sensor, with `more` options. The object appears whole or not at all.

    libbpf's own linker drops DWARF and keeps BTF; llvm-strip would need all of llvm installed.
    Raises CalledProcessError when a tool refuses, FileNotFoundError when it is missing.
    """
    with tempfile.TemporaryDirectory(dir=target.parent.resolve()) as folder:
        full, stripped = Path(folder, "full.o"), Path(folder, target.name)
        subprocess.run(compile_command(source, full, *more), cwd=source.parent, check=True)
        subprocess.run([bpftool(), "gen", "object", str(stripped), str(full)], check=True)
        stripped.replace(target)


def bpftool() -> str:
    """Where bpftool is; Debian keeps it in a folder that only root has on its PATH."""
    return shutil.which("bpftool") or "/usr/sbin/bpftool"


def is_stale(target: Path, dependencies: Iterable[Path]) -> bool:
    """Whether the object is missing or older than anything it is made of."""
    if not target.exists():
        return True
    built = target.stat().st_mtime_ns
    return any(path.stat().st_mtime_ns >= built for path in dependencies)


def build(sources: Path, out: Path) -> list[Path]:
    """Bring the objects in `out` up to date with `sources`; returns all of them, sorted."""
    out.mkdir(parents=True, exist_ok=True)
    shared = [Path(__file__), *sources.glob("*.h")]
    wanted: list[Path] = []
    for source in sorted(sources.glob(f"*{SUFFIX}")):
        targets = {
            out / f"{source.name.removesuffix(SUFFIX)}{end}": how for end, how in variants(source).items()
        }
        stale = {target: how for target, how in targets.items() if is_stale(target, [source, *shared])}
        if stale:
            print(f"  bpf     {source.name}", flush=True)
        for target, how in stale.items():
            build_object(source, target, *how)
        wanted += targets
    for orphan in set(out.glob("*.bpf.o")) - set(wanted):
        orphan.unlink()
    copy_sources(sources, out / SOURCES)
    return wanted


def variants(source: Path) -> dict[str, tuple[str, ...]]:
    """Ends of the names of its objects -> what the compiler is told besides."""
    return VARIANTS if b'"dialect.h"' in source.read_bytes() else PLAIN


def copy_sources(sources: Path, out: Path) -> None:
    """What is needed to compile at run time: the sources for bcc, the dialect and this for users' own."""
    out.mkdir(exist_ok=True)
    wanted = {out / path.name: path for path in sources.glob("*.[ch]")}
    # Without its ending: it is no module of the package it lies in.
    wanted[out / Path(__file__).stem] = Path(__file__)
    for orphan in set(out.iterdir()) - set(wanted):
        if orphan.is_file():
            orphan.unlink()
    for target, source in wanted.items():
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.write_bytes(source.read_bytes())


def main() -> int:
    """Exit codes: 0 up to date, 1 a tool failed or is missing, 2 usage."""
    if len(sys.argv) != 2:
        print("usage: build.py OUT_DIR", file=sys.stderr)
        return 2
    try:
        build(HERE, Path(sys.argv[1]))
    except FileNotFoundError as error:
        print(f"{error.filename} is missing; `make setup` installs it", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
