"""SIGKILL of the arc at random moments of its ladders: after the next start every value is as it was before.

Each round has a cgroup of its own, with a ladder of every act that this hierarchy has the files for, and one
for a process. One start in five is itself killed, while it takes back what the one before left. Limits are
there in an emulated machine: `python -m tests.vm --bench chaos 6.1`.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import structs

from controlplane.arc.kernel import priorities
from controlplane.link.amounts import IDLE, Amount, Key
from controlplane.link.config import Config
from controlplane.link.rules import NS, Rate, Rule, Scope, Step
from tests.bench.consistency import Entry, acts_in, problems
from tests.bench.daemon import Daemon, budget, config, journalled
from tests.bench.faults import loop_device, path_of, program
from tests.bench.report import Figure, Options, conclude
from tests.bench.testbed import await_cgroup, cgroup, folder, watchdog

ROUNDS: Final = 200
MOMENT_S: Final = 1.0
"""The arc dies within this of the fault's beginning; it, and all times of ladders, times `patience`."""
START_S: Final = 0.5
"""And of a start that is to be cut off, within this."""
CUT: Final = 5
"""One start in so many is cut off."""
SETTLE_S: Final = 5
ROUND_S: Final = 120
SEED: Final = 5
FORKS_PER_S: Final = 400
EXEC_GAP_US: Final = 3000
READ_GAP_US: Final = 5000
MS: Final = 1_000_000
MIB: Final = 1 << 20
FREEZE: Final = "cgroup.freeze"
PRIORITIES: Final[tuple[Key, ...]] = ("nice", "ionice", "oom_score_adj")
STEPS: Final[Mapping[str, Step]] = {
    "cpu.weight": Step("reweigh", for_ns=90 * MS, amounts=(Amount("cpu", 10),)),
    "io.weight": Step("reweigh", 5 * MS, 90 * MS, amounts=(Amount("io", 10),)),
    "cpu.max": Step("limit-cpu", 10 * MS, 90 * MS, amounts=(Amount("max", 5000),)),
    "memory.high": Step("limit-memory", 15 * MS, 90 * MS, amounts=(Amount("max", 64 * MIB),)),
    "pids.max": Step("limit-pids", 20 * MS, 90 * MS, amounts=(Amount("more", 50),)),
    "io.max": Step("limit-io", 25 * MS, 90 * MS, amounts=(Amount("read", MIB), Amount("write", MIB))),
    "cgroup.freeze": Step("freeze", 30 * MS, 60 * MS),
}
"""By the file that each writes."""
OF_PROCESS: Final = (
    Step(
        "reweigh",
        for_ns=60 * MS,
        amounts=(Amount("nice", 10), Amount("ionice", IDLE), Amount("oom_score_adj", 500)),
    ),
    Step("freeze", 10 * MS, 30 * MS),
)


CONTROLLERS: Final = ("cpu", "io", "memory", "pids")

Values = dict[str, str]
"""By the name of the file, or what else is set."""


class Round(NamedTuple):
    """One death of the arc."""

    before: Values
    at_death: Values
    after: Values
    """Once the next one had started."""
    cut_off: bool
    """A start in between was killed."""


def main(options: Options) -> int:
    """All deaths, then what the journal says of them."""
    rounds, dice = options.count or ROUNDS, random.Random(SEED)
    with cgroup("chaos") as parent, folder() as scratch:
        for controller in CONTROLLERS:
            if controller in (parent / "cgroup.controllers").read_text().split():
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
        settings = config(scratch, self_budget=budget(options.patience))
        deaths = list(die(settings, parent, rounds, dice, options.patience))
        figures = judge(deaths, journalled(settings))
    conclude("chaos", figures)
    return 0


def die(settings: Config, parent: Path, rounds: int, dice: random.Random, patience: int) -> Iterator[Round]:
    """Round after round. Each start takes back what the round before left, and is the arc of the next one."""
    with ExitStack() as stack:
        files = [name for name in STEPS if name == FREEZE or (parent / name).exists()]
        device = stack.enter_context(loop_device()) if "io.max" in files else ""
        print(f"\nwhat acts set here: {', '.join((*files, *PRIORITIES))}", flush=True)
        daemon = Daemon(settings, rules(parent / "0", files, patience))
        daemon.start()
        for number in range(rounds):
            place = parent / str(number)
            with watchdog(patience * ROUND_S), made(place), ExitStack() as victims:
                before = values(place, files, os.getpid())
                process = victims.enter_context(fault(place, device))
                time.sleep(dice.uniform(0, patience * MOMENT_S))
                daemon.kill()
                at_death = values(place, files, process)
                daemon = Daemon(settings, rules(parent / str(number + 1), files, patience))
                if cut_off := number % CUT == 0:
                    daemon.launch()
                    time.sleep(dice.uniform(0, patience * START_S))
                    daemon.kill()
                daemon.start()
                await_cgroup(place, "frozen 0", seconds=patience * SETTLE_S)
                yield Round(before, at_death, values(place, files, process), cut_off)
        daemon.stop()


def rules(place: Path, files: Sequence[str], patience: int) -> list[Rule]:
    """One that takes the cgroup for its forks, and one that takes a process for what it executes."""
    of_cgroup = Rule(
        name="chaos-cgroup",
        signal="process.fork",
        scope=Scope(cgroups=(path_of(place),)),
        test=Rate(interval_ns=patience * NS // 10, burst=1),
        ladder=slower((STEPS[file] for file in files), patience),
        cooldown_ns=0,
        mode="enforce",
    )
    of_process = structs.replace(
        of_cgroup,
        name="chaos-process",
        signal="process.exec",
        per="process",
        ladder=slower(OF_PROCESS, patience),
    )
    return [of_cgroup, of_process]


def slower(ladder: Iterable[Step], patience: int) -> tuple[Step, ...]:
    """The same with more time for each step."""
    return tuple(
        structs.replace(step, after_ns=patience * step.after_ns, for_ns=patience * step.for_ns)
        for step in ladder
    )


@contextmanager
def made(place: Path) -> Iterator[None]:
    """A cgroup for one round."""
    place.mkdir()
    try:
        yield
    finally:
        (place / "cgroup.kill").write_text("1")
        await_cgroup(place, "populated 0")
        place.rmdir()


@contextmanager
def fault(place: Path, device: str) -> Iterator[int]:
    """One that forks, one that reads the device, and one that executes; the pid of the last."""
    with (
        program(place, "read", device, READ_GAP_US) if device else nullcontext(),
        program(place, "again", EXEC_GAP_US, 0) as (process, _),
        program(place, "fork", FORKS_PER_S, 0),
    ):
        yield process.pid


def values(place: Path, files: Sequence[str], pid: int) -> Values:
    """All that acts set: of the cgroup, and of a process."""
    found = {name: (place / name).read_text().strip() for name in files}
    directory = os.open(f"/proc/{pid}", os.O_RDONLY)
    try:
        found |= {name: priorities.must_get(directory, name) for name in PRIORITIES}
    finally:
        os.close(directory)
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return found | {"stopped": str(int(state == "T"))}


def judge(deaths: Sequence[Round], entries: Sequence[Entry]) -> dict[str, Figure]:
    """What is left, what was there to be left, and whether the journal tells it truly."""
    for number, death in enumerate(deaths):
        for name, value in death.after.items():
            if value != death.before[name]:
                print(f"  round {number}: {name} is {value!r} and was {death.before[name]!r}")
    wrong = list(problems(entries))
    for each in wrong[:20]:
        print(f"  {each}")
    undos = [undo for each in acts_in(entries).undos.values() for undo in each]
    in_force = Counter(
        name for death in deaths for name, value in death.at_death.items() if value != death.before[name]
    )
    print(f"in force at a death, times: {dict(in_force)}")
    return {
        "deaths": Figure(len(deaths), "1"),
        "starts_cut_off": Figure(sum(death.cut_off for death in deaths), "1"),
        "with_acts_in_force": Figure(sum(death.at_death != death.before for death in deaths), "deaths"),
        "undone_by_next_start": Figure(sum(undo.reason == "restart" for undo in undos), "acts"),
        "not_as_before": Figure(sum(death.after != death.before for death in deaths), "deaths", aim=0),
        "journal.problems": Figure(len(wrong), "1", aim=0),
    }
