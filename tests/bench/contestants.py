"""Who is to stop a fault: daemons that people run, as their packages set them and as quick as is sensible.

`quick` means sooner than anybody would want at home: earlyoom and nohang act at 30 % of memory left, oomd and
systemd-oomd at any pressure within a second, and the arc's policies look at a part of the time.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from msgspec import structs

from controlplane.link.rules import WHOLE, Rate, Rule, Scope
from controlplane.policy.compile import DEFAULTS, rules_of
from tests.bench import managed_oom
from tests.bench.daemon import Daemon, config
from tests.bench.packages import FOLDER
from tests.bench.testbed import CannotMeasureError, folder, running

PACKAGES: Final = ("earlyoom", "nohang", "oomd", "libjsoncpp25", "systemd-oomd", "libsystemd-shared")
SLOWER: Final = {"fork-storm": 10, "memory-growth": 1}
"""Default policies, and how many times as long an emulated machine takes for what each counts.

Growth is a share of the machine's memory, which is what the others go by.
"""
QUICK: Final = {"fork-storm": 20, "memory-growth": 5}
"""Of the time over which a policy looks, quick ones take one part in so many."""
FEWEST: Final = 5
"""So many at once are still no storm."""
SETTLE_S: Final = 3
LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu/systemd", "usr/lib/x86_64-linux-gnu")
PRESSURE: Final = """{"rulesets": [{"name": "quick",
 "detectors": [["pressure", {"name": "pressure_above",
   "args": {"cgroup": "SLICE", "resource": "memory", "threshold": "1", "duration": "1"}}]],
 "actions": [{"name": "kill_by_memory_size_or_growth", "args": {"cgroup": "SLICE/*"}}]}]}"""

Contestant = Callable[[Path], AbstractContextManager[None]]
"""Runs for the length of a block, and is told of the cgroup below which all of this happens."""


@contextmanager
def nobody(_parent: Path) -> Iterator[None]:
    """The kernel's own OOM killer is left."""
    yield


@contextmanager
def program(*words: str | Path) -> Iterator[None]:
    """A daemon from a package; raises CannotMeasureError when it ends by itself."""
    libraries = ":".join(str(FOLDER / each) for each in LIBRARIES)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": libraries}
    with (
        TemporaryFile("w+") as said,
        running(words, env=environment, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        time.sleep(SETTLE_S)
        yield
        if process.poll() is not None:
            said.seek(0)
            raise CannotMeasureError(f"{words[0]} ended with {process.returncode}: {said.read()[-2000:]}")


def earlyoom(_parent: Path, *, quick: bool) -> AbstractContextManager[None]:
    """By memory that is left."""
    return program(FOLDER / "usr/bin/earlyoom", "-r", "3600", *(("-m", "30") if quick else ()))


@contextmanager
def nohang(_parent: Path, *, quick: bool) -> Iterator[None]:
    """By memory that is left; it sleeps according to how fast that might be filled."""
    text = (FOLDER / "etc/nohang/nohang.conf").read_text()
    if quick:
        for name, value in (("soft_threshold_min_mem", "30 %"), ("hard_threshold_min_mem", "25 %")):
            text = "\n".join(
                f"{name} = {value}" if line.startswith(name) else line for line in text.splitlines()
            )
        text = text.replace("max_sleep = 3", "max_sleep = 0.1")
    with folder() as scratch:
        (scratch / "nohang.conf").write_text(text)
        words = (FOLDER / "usr/sbin/nohang", "--monitor", "--config", scratch / "nohang.conf")
        with program("/usr/bin/python3", *words):
            yield


@contextmanager
def oomd(parent: Path, *, quick: bool) -> Iterator[None]:
    """By pressure of a slice."""
    packaged = (FOLDER / "etc/oomd/oomd.json").read_text()
    with folder() as scratch:
        (scratch / "oomd.json").write_text(PRESSURE.replace("SLICE", parent.name) if quick else packaged)
        options = ("--interval", "1", "--config", scratch / "oomd.json", "--cgroup-fs", parent.parent)
        with program(FOLDER / "usr/bin/oomd", *map(str, options)):
            yield


@contextmanager
def systemd_oomd(parent: Path, *, quick: bool) -> Iterator[None]:
    """By pressure of a slice, of which process 1 tells it."""
    drop_in = Path("/run/systemd/oomd.conf.d/quick.conf")
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text(f"[OOM]\nDefaultMemoryPressureDurationSec={'1s' if quick else '20s'}\n")
    answering = managed_oom.serving(f"/{parent.name}", 1 if quick else 50)
    with answering, program(FOLDER / "lib/systemd/systemd-oomd"):
        yield


@contextmanager
def reflexarc(parent: Path, *, quick: bool) -> Iterator[None]:
    """Default policies, in enforce mode within that slice.

    No sensor is shed for what it costs, for where a processor is emulated that says nothing.
    """
    rules = [rule(name, parent, quick=quick) for name in SLOWER]
    with folder() as scratch, Daemon(config(scratch, self_budget=WHOLE), rules):
        time.sleep(SETTLE_S)
        yield


def rule(name: str, parent: Path, *, quick: bool) -> Rule:
    """A default policy, for a machine that is slower."""
    file = DEFAULTS / f"{name}.yaml"
    (default,) = rules_of(file.read_bytes(), file.name, "default")
    assert isinstance(default.test, Rate)
    burst = max(FEWEST, default.test.burst // SLOWER[name] // (QUICK[name] if quick else 1))
    test = Rate(interval_ns=default.test.interval_ns * SLOWER[name], burst=burst)
    scope = Scope(cgroups=(f"/{parent.name}/**",))
    return structs.replace(default, scope=scope, test=test, cooldown_ns=0, mode="enforce")


def contestants() -> dict[str, Contestant]:
    """By name, in the order in which they take turns."""
    daemons = {
        "reflexarc": reflexarc,
        "earlyoom": earlyoom,
        "nohang": nohang,
        "oomd": oomd,
        "systemd-oomd": systemd_oomd,
    }
    found: dict[str, Contestant] = {}
    for name, daemon in daemons.items():
        found[name] = partial(daemon, quick=False)
        found[f"{name}.quick"] = partial(daemon, quick=True)
    return found | {"nobody": nobody}
