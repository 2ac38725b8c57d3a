"""Puts together what the image holds: `assemble.py --variant core|bcc LIBRARIES OUT`, where it all is.

From a Debian system with the libraries in one folder come the interpreter, the modules that the daemon can
reach, the shared objects these need, certificates and a passwd entry. What is not asked for is not there.
"""

import argparse
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bill import debian, document, wheels
from bytecode import compile_modules
from closure import BARE, NAMED, Closure
from elf import let_go, needed, strip

VERSION: Final = f"python3.{sys.version_info.minor}"
PYTHON: Final = Path(f"/usr/bin/{VERSION}")
STANDARD: Final = Path(f"/usr/lib/{VERSION}")
DEBIAN: Final = Path("/usr/lib/python3/dist-packages")
SITE: Final = Path(f"/usr/local/lib/{VERSION}/dist-packages")
"""Where the image has what PyPI gave."""
NATIVE: Final = Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}")
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_CERTIFICATES: Final = ("certifi/cacert.pem", "grpc/_cython/_credentials/roots.pem")
"""Of libraries that bring some; they are given the system's."""
LOADED: Final = {"core": ("libbpf.so.1",), "bcc": ("libbpf.so.1", "libbcc.so.0")}
"""By name, at run time."""
BILL: Final = Path("usr/share/doc/reflexarc/sbom.spdx.json")
FOLDERS: Final = ("dev", "etc", "proc", "run/reflexarc", "sys", "tmp", "var/lib/reflexarc")
ACCOUNTS: Final = {
    "passwd": "root:x:0:0:root:/:/sbin/nologin\nreflexarc:x:60999:60999:reflexarc:/:/sbin/nologin\n",
    "group": "root:x:0:\nreflexarc:x:60999:\n",
}
LAUNCHER: Final = f"""\
#!{PYTHON} -I
import sys

from controlplane.cli.main import main

sys.exit(main())
"""


def main() -> None:
    """Everything, in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=LOADED, required=True)
    parser.add_argument("libraries", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    libraries, out = options.libraries, options.out
    loaded = (NATIVE / name for name in LOADED[options.variant])
    data = data_of(libraries, with_sources=options.variant == "bcc")
    taken = [PYTHON, *modules(libraries, options.variant), *loaded, *data]
    for path in taken:
        copy(path, out, libraries)
    let_go(natives(out))
    also = list(needed(natives(out), NATIVE))
    for path in also:
        copy(path, out, libraries)
    write_bill(out, libraries, [*taken, *also, CERTIFICATES])
    strip(natives(out))
    lighten(out)
    compile_modules(out)
    finish(out)


def modules(libraries: Path, variant: str) -> Iterator[Path]:
    """Files of all that the daemon can reach."""
    closure = Closure([libraries, DEBIAN, STANDARD, STANDARD / "lib-dynload"])
    closure.add_all(libraries / "controlplane")
    for name in (*NAMED, *(("bcc",) if variant == "bcc" else ())):
        closure.add(name)
    return (path for path in closure.files.values() if path is not None)


def copy(path: Path, out: Path, libraries: Path) -> None:
    """To where it is in the image; a link as the file it leads to."""
    place = SITE / path.relative_to(libraries) if path.is_relative_to(libraries) else path
    target = out / place.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    shutil.copymode(path, target)


def data_of(libraries: Path, *, with_sources: bool) -> Iterator[Path]:
    """What is no module: BPF objects, default policies, and what distributions say of themselves.

    Sources of the sensors are compiled by bcc.
    """
    for path in sorted((libraries / "controlplane").rglob("*")):
        is_data = path.is_file() and path.suffix not in (".py", ".pyi", ".pyc")
        if is_data and (with_sources or "source" not in path.parts):
            yield path
    for name in ("METADATA", "entry_points.txt"):
        yield from sorted(libraries.glob(f"*.dist-info/{name}"))


def natives(out: Path) -> list[Path]:
    """What is machine code in the image."""
    return [out / PYTHON.relative_to("/"), *sorted(out.rglob("*.so*"))]


def write_bill(out: Path, libraries: Path, taken: Iterable[Path]) -> None:
    """What the image is made of, for those who look for known holes in it."""
    of_debian = debian(path.resolve() for path in taken if not path.is_relative_to(libraries))
    bill = document([*of_debian, *wheels(libraries)], epoch())
    (out / BILL).parent.mkdir(parents=True)
    (out / BILL).write_text(json.dumps(bill, indent=1) + "\n")


def epoch() -> int:
    """The time that all files have."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def lighten(out: Path) -> None:
    """Packages import no parts that are not used; distributions tell what they are, not what they do."""
    site = out / SITE.relative_to("/")
    for name in BARE:
        (site / name / "__init__.py").write_text("")
    for path in site.glob("*.dist-info/METADATA"):
        path.write_text(path.read_text().partition("\n\n")[0] + "\n")


def finish(out: Path) -> None:
    """Accounts, certificates, the launcher, and one time for all files."""
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, text in ACCOUNTS.items():
        (out / "etc" / name).write_text(text)
    copy(CERTIFICATES, out, Path("/nowhere"))
    for name in OWN_CERTIFICATES:
        place = out / SITE.relative_to("/") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(CERTIFICATES)
    launcher = out / "usr/bin/reflexarc"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    loader = next(out.glob("usr/lib/*/ld-linux-*"))
    for name in ("lib", "lib64"):
        (out / name).symlink_to(f"usr/{name}")
    (out / "usr/lib64").mkdir()
    (out / "usr/lib64" / loader.name).symlink_to(f"../lib/{loader.parent.name}/{loader.name}")
    for path in (out, *out.rglob("*")):
        os.utime(path, (epoch(), epoch()), follow_symlinks=False)


if __name__ == "__main__":
    main()
