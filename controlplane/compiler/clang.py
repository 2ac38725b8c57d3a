"""One source through clang, as `make objects` does it: a CO-RE object, for the arc to load through libbpf."""

import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Final

from controlplane.arc.kernel.instructions import has_fetch
from controlplane.compiler.bcc import CompileError
from controlplane.link.compiling import Source

HELPERS: Final = Path("/usr/include/bpf/bpf_helpers.h")
"""Of libbpf-dev."""


def is_present() -> bool:
    """Whether everything `compile_object` needs is installed."""
    return bool(shutil.which("clang")) and HELPERS.exists() and BPFTOOL.exists()


BPFTOOL: Final = Path(shutil.which("bpftool") or "/usr/sbin/bpftool")


def compile_object(source: Source, sources: Path, folder: Path) -> int:
    """A descriptor of the object, which has no name any more. Raises CompileError."""
    builder = runpy.run_path(str(sources / "build"))
    target = folder / f"{source.name}.bpf.o"
    defines = [f"-D{name}={number}" for name, number in source.numbers.items()]
    try:
        builder["build_object"](
            Path(source.path), target, *defines, *([] if has_fetch() else builder["NO_FETCH"])
        )
    except subprocess.CalledProcessError:
        raise CompileError from None
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    target.unlink()
    return fd
