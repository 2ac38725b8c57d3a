"""Memory hogs against the default policy, as it is shipped; and what it does to programs that are healthy.

Each hog is a cgroup of its own, and is looked at until five seconds after it was stopped, for the first stop
is short. Healthy programs live in cgroups next to each other, under the same policy, which acts.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import structs

from controlplane.link.records import Finding, Intent, Undo
from controlplane.link.rules import NS, Rule, Scope
from controlplane.policy.compile import DEFAULTS, rules_of
from controlplane.policy.node import MEMORY, PAGE
from tests.bench.consistency import acts_in
from tests.bench.daemon import Daemon, config, journalled
from tests.bench.faults import path_of, program
from tests.bench.healthy import prepared, spend
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import await_cgroup, cgroup, folder, watchdog

HOGS: Final = {"small": 0, "huge": 1}
"""Pages, and what the fault program calls them."""
COUNT: Final = 10
MIB: Final = 1 << 20
HOG_MIB: Final = min(6000, MEMORY // MIB // 4)
STOP_S: Final = 20
LATER_S: Final = 5
SPELL_S: Final = 20
LEFT: Final = 0.1
"""Of memory, when earlyoom acts as its package sets it."""
STARTS: Final = {
    "reads": "rm -f big; head -c 2G /dev/zero >big; cat big big big >/dev/null; rm big; sleep 1",
    "interpreters": "for n in 1 2 3 4 5 6 7 8; do {python} -c 'import asyncio, json, email, sqlite3'; done",
    "sort": "seq 1 3000000 | sort -S 600M -R | tail -1; sleep 1",
}
"""Beside the healthy loads of other benchmarks."""
JAVA: Final = "java -Xms2g -Xmx2g -XX:+AlwaysPreTouch -version 2>&1; sleep 5"


class Hog(NamedTuple):
    """One of them."""

    ms: float
    """Until it was frozen; 0 when that was not so in time."""
    mib: float
    """It had then."""
    later_mib: float
    """It had some seconds later."""
    per_s: float
    """MiB it took a second."""


def main(options: Options) -> int:
    """Hogs first, then healthy programs."""
    count, seconds = options.count or COUNT, options.seconds or SPELL_S
    with watchdog(120 + count * 60):
        figures = hogs(count)
    with watchdog(300 + 12 * seconds):
        figures |= healthy(seconds)
    conclude("hogs", figures)
    return 0


def rule(place: Path) -> Rule:
    """The default policy for what is below that cgroup, without rest between two reflexes."""
    file = DEFAULTS / "memory-growth.yaml"
    (default,) = rules_of(file.read_bytes(), file.name, "default")
    scope = Scope(cgroups=(f"{path_of(place)}/*",))
    return structs.replace(default, scope=scope, cooldown_ns=0, mode="enforce")


def hogs(count: int) -> dict[str, Figure]:
    """So many of each kind, one at a time."""
    figures: dict[str, Figure] = {}
    with cgroup("hogs") as parent, folder() as scratch, Daemon(config(scratch), [rule(parent)]):
        for kind, huge in HOGS.items():
            done = [hog(parent, huge) for _ in range(count)]
            for each in done:
                print(f"  {kind}: {each}", flush=True)
            figures |= summarise(kind, done)
    return figures


def hog(parent: Path, huge: int) -> Hog:
    """One, in a cgroup of its own."""
    place = parent / "hog"
    place.mkdir()
    with program(place, "grow", HOG_MIB, huge) as (process, began_ns):
        stopped = await_cgroup(place, "frozen 1", seconds=STOP_S)
        ms, mib = (time.monotonic_ns() - began_ns) / 1e6, held_mib(process.pid)
        if stopped:
            time.sleep(LATER_S)
        later = held_mib(process.pid)
    await_cgroup(place, "populated 0")
    place.rmdir()
    return Hog(ms if stopped else 0.0, mib, later, mib / ms * 1000)


def held_mib(pid: int) -> float:
    """Memory of a process that is no file's."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * PAGE / MIB


def summarise(kind: str, done: Sequence[Hog]) -> dict[str, Figure]:
    """Beside when earlyoom would act at that pace: reckoned, for this is no machine to lose."""
    stopped = sorted(each.ms for each in done if each.ms)
    figures = {f"{kind}.not_stopped": Figure(len(done) - len(stopped), f"of {len(done)}", aim=0)}
    if not stopped:
        return figures
    per_s = percentile(sorted(each.per_s for each in done), 0.5)
    peer = (available_mib() - LEFT * MEMORY / MIB) / per_s * 1000
    median = percentile(stopped, 0.5)
    figures[f"{kind}.pace"] = Figure(round(per_s), "MiB/s")
    figures[f"{kind}.p50"] = Figure(round(median, 1), "ms", round(peer), round(peer / median), 100)
    figures[f"{kind}.max"] = Figure(round(stopped[-1], 1), "ms")
    for name in ("mib", "later_mib"):
        held = sorted(float(getattr(each, name)) for each in done)
        figures[f"{kind}.{name}.p50"] = Figure(round(percentile(held, 0.5)), "MiB")
        figures[f"{kind}.{name}.max"] = Figure(round(held[-1]), "MiB")
    return figures


def available_mib() -> float:
    """What programs could still take, by the kernel's own estimate."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 1024


def healthy(seconds: int) -> dict[str, Figure]:
    """A spell of each load; how often it was found to grow, and how long it was stopped for that."""
    with cgroup("healthy") as parent, folder() as scratch:
        settings = config(scratch)
        with Daemon(settings, [rule(parent)]), prepared() as (files, scripts):
            loads = scripts | {name: text.format_map({"python": "python3"}) for name, text in STARTS.items()}
            if shutil.which("java"):
                loads["java"] = JAVA
            for name, script in loads.items():
                with beside(parent, name) as place:
                    spend(place, script, files, seconds)
        entries = [record for _, record in journalled(settings)]
        acts = acts_in(journalled(settings))
    figures: dict[str, Figure] = {}
    for name in loads:
        path = f"{path_of(parent)}/{name}"
        found = sum(isinstance(each, Finding) and each.path == path for each in entries)
        mine = {span: intent for span, intent in acts.intents.items() if intent.path == path}
        stopped_s = sum(lasted_s(intent, acts.undos.get(span, [])) for span, intent in mine.items())
        figures[f"{name}.findings"] = Figure(found, f"in {seconds} s")
        figures[f"{name}.went_on"] = Figure(sum(intent.step > 0 for intent in mine.values()), "steps")
        figures[f"{name}.stopped"] = Figure(round(100 * stopped_s / seconds, 1), "%")
    return figures


def lasted_s(intent: Intent, undos: Sequence[Undo]) -> float:
    """How long a freeze held, in seconds; 0 for other acts."""
    return (undos[0].time_ns - intent.time_ns) / NS if undos and intent.act == "freeze" else 0.0


@contextmanager
def beside(parent: Path, name: str) -> Iterator[Path]:
    """A cgroup among others."""
    place = parent / name
    place.mkdir()
    try:
        yield place
    finally:
        await_cgroup(place, "populated 0")
        place.rmdir()
