"""Load that changes and is healthy: builds, installs, archives, a steady mix, rest; in a fixed order.

Each kind lives in a cgroup of its own, as a service does, and comes back to it. Nothing comes from a network.
"""

import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.bench.testbed import await_cgroup, cgroup, start

SPELLS: Final = 8
SEED: Final = 4
SOURCES: Final = 24
FUNCTIONS: Final = 120
MODULES: Final = 400
PARTS: Final = ("/usr/share/doc", "/usr/share/perl", "/usr/share/locale", "/usr/share/man")
CONTROL: Final = (
    "Package: bench\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@localhost>\nDescription: files\n"
)

SCRIPTS: Final[Mapping[str, str]] = {
    "build": "ls src/*.c | xargs -P 3 -I% gcc -O1 -c % -o /dev/null",
    "install": "rm -rf lib tree; {python} -m pip install -q --no-index --no-deps --target lib {wheel};"
    " dpkg-deb -x parts.deb tree; sync -f tree",
    "mix": "stress-ng -q --cpu 1 --cpu-load 40 --pipe 1 --switch 1 --timer 1 --timer-freq 1000 --timeout 10s;"
    " sleep 3",
    "archive": "tar c {part} 2>/dev/null | gzip -2 >parts.tgz; sync -f parts.tgz;"
    " tar xzf parts.tgz -C out; sleep 1",
}
"""One round of each kind; it is repeated until the spell is over."""


class Spell(NamedTuple):
    """A stretch of one kind of load; CLOCK_MONOTONIC nanoseconds."""

    kind: str
    begin_ns: int
    end_ns: int


Load = Callable[[str, float], Spell]
"""Takes a kind of load and seconds; returns when they have passed and its processes are gone."""


def order(seconds: float) -> Iterator[tuple[str, float]]:
    """Kinds and how long each lasts, `seconds` in all; every kind comes before any comes again."""
    dice = random.Random(SEED)
    kinds = [*SCRIPTS, "rest"]
    spells = [kind for _ in range(-(-SPELLS // len(kinds))) for kind in dice.sample(kinds, len(kinds))][
        :SPELLS
    ]
    weights = [dice.uniform(0.8, 1.2) for _ in spells]
    for kind, weight in zip(spells, weights, strict=True):
        yield kind, seconds * weight / sum(weights)


@contextmanager
def prepared() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder in which what is to be built, installed and packed lies ready; scripts by kind."""
    with TemporaryDirectory(prefix="reflexarc-bench-", dir="/var/tmp") as name:
        words = prepare(Path(name))
        yield Path(name), {kind: script.format_map(words) for kind, script in SCRIPTS.items()}


@contextmanager
def loads() -> Iterator[Load]:
    """Each kind has its cgroup."""
    with prepared() as (scratch, scripts), ExitStack() as stack:
        places = {kind: stack.enter_context(cgroup(kind)) for kind in SCRIPTS}

        def load(kind: str, seconds: float) -> Spell:
            begin_ns = time.monotonic_ns()
            if kind in places:
                spend(places[kind], scripts[kind], scratch, seconds)
            else:
                time.sleep(seconds)
            return Spell(kind, begin_ns, time.monotonic_ns())

        yield load


def spend(place: Path, script: str, scratch: Path, seconds: float) -> None:
    """Repeat a script in a cgroup for so long, and end what is left of it."""
    loop = f'echo 0 >"$0/cgroup.procs"; cd "$1"; while :; do {script}; done'
    process = start(("sh", "-c", loop, place, scratch), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    (place / "cgroup.kill").write_text("1")
    process.wait()
    await_cgroup(place, "populated 0")


def prepare(scratch: Path) -> dict[str, str]:
    """Sources, a wheel and a package in the folder; what scripts call them."""
    part = next(part for part in PARTS if Path(part).is_dir())
    for folder in ("src", "out", "pack/DEBIAN", "pack/usr/share"):
        (scratch / folder).mkdir(parents=True)
    for number in range(SOURCES):
        (scratch / "src" / f"{number}.c").write_text(source(number))
    (scratch / "pack/DEBIAN/control").write_text(CONTROL)
    wheel(scratch / "bench-1-py3-none-any.whl")
    subprocess.run(("cp", "-r", part, scratch / "pack/usr/share"), check=True)
    subprocess.run(
        ("dpkg-deb", "-z1", "-b", scratch / "pack", scratch / "parts.deb"),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return {"python": sys.executable, "wheel": "bench-1-py3-none-any.whl", "part": part}


def source(number: int) -> str:
    """Functions enough for a compiler to take a good part of a second."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    for each in range(FUNCTIONS):
        lines += [
            f"int f{number}_{each}(int n, char *s)",
            "{",
            f"\tint sum = {each};",
            "\tfor (int i = 0; i < n; i++) {",
            f"\t\tsum = sum * {2 * each + 3} + s[i % (n + {each + 1})];",
            f'\t\tif (sum % {each + 7} == 0) printf("%d %s\\n", sum, s + i);',
            "\t}",
            "\treturn sum + (int)strlen(s);",
            "}",
        ]
    return "\n".join(lines) + "\n"


def wheel(path: Path) -> None:
    """A package of many small modules, which pip unpacks and compiles."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MODULES):
            archive.writestr(f"bench/m{number}.py", f"def f(n: int) -> int:\n    return n + {number}\n")
        archive.writestr("bench-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: bench\nVersion: 1\n")
        archive.writestr(
            "bench-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("bench-1.dist-info/RECORD", "")
