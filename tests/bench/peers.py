"""The same faults against daemons that people run: how soon each is stopped, at what cost, and who else pays.

Fork storm and memory hog in a cgroup among others, one contestant at a time, all by turns. For machines that
can be lost, with all of cgroup2: `python -m tests.vm --bench peers --memory 1G 6.1`.
"""

import ctypes
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.contestants import Contestant, contestants
from tests.bench.faults import program
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import CannotMeasureError, await_cgroup, cgroup_mount, watchdog

ROUNDS: Final = 10
SLICE: Final = "system.slice"
"""Where the packages expect services."""
FAULTS: Final = {
    "hog": (("grow", 1 << 20, 0), 40),
    "huge_hog": (("grow", 1 << 20, 1), 40),
    "storm": (("bomb", 20_000, 0), 30),
}
"""What is done, and after how many seconds it counts as not stopped."""
SKIPPED: Final = {
    "storm": ("nobody", "earlyoom", "nohang", "oomd", "systemd-oomd"),
    "huge_hog": ("earlyoom", "nohang", "oomd", "systemd-oomd"),
}
"""Where quicker settings tell enough."""
ONCE: Final = {"storm": ("earlyoom.quick", "nohang.quick", "oomd.quick", "systemd-oomd.quick")}
"""Who watches for something else: one round shows it."""
BYSTANDERS: Final = (("grow", 128, 0), ("wake", 4, 20_000), ("fork", 3, 0))
"""A service that holds memory, one that has little to do, one that forks now and then."""
SETTLE_S: Final = 5
"""Emulated, it takes seconds until the first bystander has its memory."""
LATER_S: Final = 5
MIB: Final = 1 << 20
MLOCK_ALL: Final = 3


class Bystander(NamedTuple):
    """A service that has nothing to do with the fault."""

    place: Path
    process: "subprocess.Popen[str]"

    @property
    def harmed(self) -> bool:
        """It has ended, or stands still."""
        frozen = "frozen 1" in (self.place / "cgroup.events").read_text()
        return frozen or self.process.poll() is not None


class Round(NamedTuple):
    """One fault."""

    ms: float
    """Until nobody of the culprit runs any more; 0 when that was not so in time."""
    lost_mib: float
    """Memory that the culprit held at most until then."""
    later_mib: float
    """And until some seconds later: a first stop may be short."""
    by_kernel: bool
    """Its OOM killer was there first."""
    harmed: int
    """Bystanders that did not live on."""


def main(options: Options) -> int:
    """All contestants by turns."""
    rounds = options.count or ROUNDS
    competing = chosen(options.only)
    done: dict[tuple[str, str], list[Round]] = {}
    ctypes.CDLL(None).mlockall(MLOCK_ALL)
    with arena() as parent:
        for number in range(rounds):
            for name, contestant in competing.items():
                for fault, found in compete(name, contestant, parent, number):
                    done.setdefault((fault, name), []).append(found)
    conclude("peers", summarise(done))
    return 0


def chosen(names: tuple[str, ...]) -> dict[str, Contestant]:
    """In the order of `names`, all without any; raises CannotMeasureError for one there is not."""
    known = contestants()
    if unknown := sorted(set(names) - known.keys()):
        raise CannotMeasureError(f"no contestant {', '.join(unknown)}; there are: {', '.join(known)}")
    return {name: known[name] for name in names} or known


def compete(name: str, contestant: Contestant, parent: Path, number: int) -> Iterator[tuple[str, Round]]:
    """A round of one contestant, which begins anew for each fault, among services that run already."""
    for fault, (_, seconds) in FAULTS.items():
        if name in SKIPPED.get(fault, ()) or (number and name in ONCE.get(fault, ())):
            continue
        with watchdog(180 + seconds), beside(parent) as others, contestant(parent):
            found = once(fault, parent, others)
        print(f"  {fault} {name}: {found}", flush=True)
        yield fault, found


@contextmanager
def arena() -> Iterator[Path]:
    """A slice with controllers for what is in it."""
    parent = cgroup_mount() / SLICE
    if parent.exists() or "memory" not in (parent.parent / "cgroup.subtree_control").read_text().split():
        raise CannotMeasureError("only for a machine of its own: `python -m tests.vm --bench peers`")
    parent.mkdir()
    (parent / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    yield parent
    parent.rmdir()


@contextmanager
def service(parent: Path, name: str) -> Iterator[Path]:
    """A cgroup as a unit has it."""
    path = parent / f"{name}.service"
    path.mkdir()
    try:
        yield path
    finally:
        (path / "cgroup.freeze").write_text("0")
        (path / "cgroup.kill").write_text("1")
        await_cgroup(path, "populated 0")
        path.rmdir()


@contextmanager
def beside(parent: Path) -> Iterator[list[Bystander]]:
    """All bystanders, once the one that holds memory has it."""
    with ExitStack() as stack:
        found = []
        for words in BYSTANDERS:
            place = stack.enter_context(service(parent, f"bystander-{words[0]}"))
            found.append(Bystander(place, stack.enter_context(program(place, *words))[0]))
        time.sleep(SETTLE_S)
        yield found


def once(fault: str, parent: Path, others: list[Bystander]) -> Round:
    """One fault."""
    words, seconds = FAULTS[fault]
    with service(parent, "culprit") as culprit:
        with program(culprit, *words) as (_, began_ns):
            stopped = await_cgroup(culprit, "frozen 1", "populated 0", seconds=seconds)
            ms = (time.monotonic_ns() - began_ns) / 1e6 if stopped else 0.0
            lost_mib = peak_mib(culprit)
            if stopped.startswith("frozen"):
                time.sleep(LATER_S)
            later_mib = peak_mib(culprit)
            by_kernel = "oom_kill 0" not in (culprit / "memory.events").read_text()
        harmed = sum(each.harmed for each in others)
    return Round(ms, lost_mib, later_mib, by_kernel, harmed)


def peak_mib(culprit: Path) -> float:
    """Memory that it held at most."""
    return int((culprit / "memory.peak").read_text()) / MIB


def summarise(done: dict[tuple[str, str], list[Round]]) -> dict[str, Figure]:
    """By fault and contestant. The ratio is of our own median to the peer's: how many times sooner."""
    figures: dict[str, Figure] = {}
    for (fault, name), rounds in done.items():
        label = f"{fault}.{name}"
        stopped = sorted(each.ms for each in rounds if each.ms)
        figures[f"{label}.not_stopped"] = Figure(len(rounds) - len(stopped), f"of {len(rounds)}")
        figures[f"{label}.by_kernel"] = Figure(sum(each.by_kernel for each in rounds), f"of {len(rounds)}")
        figures[f"{label}.harmed"] = Figure(sum(each.harmed for each in rounds), "bystanders")
        for when in ("lost_mib", "later_mib"):
            held = sorted(float(getattr(each, when)) for each in rounds)
            figures[f"{label}.{when}"] = Figure(round(percentile(held, 0.5), 1), "MiB")
        if stopped:
            figures[f"{label}.p50"] = against_ours(fault, percentile(stopped, 0.5), done)
            figures[f"{label}.max"] = Figure(round(stopped[-1], 1), "ms")
    return figures


def against_ours(fault: str, ms: float, done: dict[tuple[str, str], list[Round]]) -> Figure:
    """A median beside that of our default policies."""
    ours = sorted(each.ms for each in done.get((fault, "reflexarc"), ()) if each.ms)
    if not ours:
        return Figure(round(ms, 1), "ms")
    median = percentile(ours, 0.5)
    return Figure(round(ms, 1), "ms", round(median, 1), round(ms / median, 2))
