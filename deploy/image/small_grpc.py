"""Builds gRPC's wheel for size: `small_grpc.py REQUIREMENTS OUT`, in the image's own Debian; half an hour.

From the same source as the wheel on PyPI, whose hash is locked beside it. Optimised for size, with the
system's OpenSSL and zlib instead of copies of its own, without what cannot be reached, and without xDS.
"""

import importlib
import os
import re
import runpy
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
STUBS: Final = HERE / "without_xds.c"
LEFT_OUT: Final = re.compile(r"/(?:upb|upbdefs)-gen/(?:cel|envoy|udpa|xds)/|/xds[/_]")
"""Of the core's source files: what speaks to a control plane of Envoy's kind."""
DEFINED: Final = ("GRPC_EXPERIMENTS_ARE_FINAL", "GRPC_NO_RLS", "GRPC_NO_XDS", "GRPC_NO_ZTRACE")
"""gRPC's own words for a build without what is experimental, xDS and its like, and traces for debuggers."""
COMPILE: Final = (
    *("-std=c++17", "-Oz", "-g0", "-ffunction-sections", "-fdata-sections"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden", "-fno-wrapv", "-fno-exceptions"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-w"),
    *(f"-D{name}" for name in DEFINED),
)
LINK: Final = (
    *("-fuse-ld=lld", "-static-libgcc", "-static-libstdc++", "-lpthread"),
    *("-Wl,--gc-sections", "-Wl,--icf=safe", "-Wl,-O2", "-Wl,--strip-all", "-Wl,--exclude-libs,ALL"),
    *("-Wl,--as-needed", "-Wl,-z,relro,-z,now", "-Wl,-z,pack-relative-relocs", "-Wl,--build-id=none"),
)
ENVIRONMENT: Final = {
    "GRPC_PYTHON_CFLAGS": " ".join(COMPILE),
    "GRPC_PYTHON_BUILD_SYSTEM_OPENSSL": "1",
    "GRPC_PYTHON_BUILD_SYSTEM_ZLIB": "1",
    "GRPC_PYTHON_BUILD_EXT_COMPILER_JOBS": str(os.cpu_count()),
    "SOURCE_DATE_EPOCH": "315532800",  # 1980: a zip file knows nothing older
}


def main() -> None:
    """Fetch, compile, and see that it loads."""
    requirements, out = (Path(argument).resolve() for argument in sys.argv[1:])
    os.environ.setdefault("CC", "clang")
    os.environ.setdefault("CXX", "clang++")
    with tempfile.TemporaryDirectory() as folder:
        stubs = Path(folder, "without_xds.o")
        subprocess.run([*os.environ["CC"].split(), "-Oz", "-fPIC", "-c", STUBS, "-o", stubs], check=True)
        os.environ.update(ENVIRONMENT, GRPC_PYTHON_LDFLAGS=" ".join((*LINK, str(stubs))))
        build(unpack(fetch(requirements, Path(folder)), Path(folder, "source")), out)


def locked(requirements: Path) -> str:
    """What is said there of gRPC: its version and the hashes of its files."""
    found = re.search(r"^grpcio==.*?(?=^\S)", requirements.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def fetch(requirements: Path, folder: Path) -> Path:
    """The source distribution that is locked."""
    wanted = folder / "grpcio.txt"
    wanted.write_text(locked(requirements))
    command = ("pip", "download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:")
    subprocess.run([*command, "--require-hashes", "-r", wanted, "-d", folder], check=True)
    (source,) = folder.glob("grpcio-*.tar.gz")
    return source


def unpack(archive: Path, target: Path) -> Path:
    """Where setup.py is."""
    with tarfile.open(archive) as source:
        source.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


def build(source: Path, out: Path) -> None:
    """Compile what is wanted; setup.py finds the list of files where it looks for it."""
    os.chdir(source)
    sys.path.insert(0, str(source / "src/python/grpcio"))
    core = importlib.import_module("grpc_core_dependencies")
    files = vars(core)["CORE_SOURCE_FILES"]
    files[:] = [file for file in files if not LEFT_OUT.search(file)]
    sys.argv = ["setup.py", "-q", "bdist_wheel", "--dist-dir", str(out)]
    runpy.run_path("setup.py", run_name="__main__")


if __name__ == "__main__":
    main()
