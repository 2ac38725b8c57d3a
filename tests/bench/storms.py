"""A thousand fork storms in a row: each frozen and killed, or frozen and let go, and nobody else touched.

The default policy `fork-storm`, in enforce mode and within a scope; only its ladder is quicker, so that the
next storm need not wait for ten seconds. Beside the storms live bystanders, in cgroups next to theirs.
"""

import select
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import structs

from controlplane.link.rules import Rule, Scope, Step
from controlplane.policy.compile import DEFAULTS, rules_of
from tests.bench.consistency import Acts, Entry, acts_in, problems
from tests.bench.daemon import Daemon, config, journalled
from tests.bench.faults import path_of, program
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import await_cgroup, cgroup, folder, watchdog

STORMS: Final = 1000
LIVE: Final = 64
"""Processes of one storm at a time."""
MS: Final = 1_000_000
FREEZE: Final = Step("freeze", 0, 100 * MS)
LADDERS: Final = {"kill": (FREEZE, Step("kill", 20 * MS)), "freeze": (FREEZE,)}
STOPPED: Final = {"kill": "populated 0", "freeze": "frozen 1"}
STOP_S: Final = 5
"""What storms on for so long was not stopped."""
BYSTANDERS: Final = (("wake", 4, 2000), ("fork", 50, 0), ("again", 20_000, 0))
"""A service, one that forks now and then, one that executes programs."""


class Storm(NamedTuple):
    """One of them."""

    cgroup: int
    began_ns: int
    stopped: bool
    frozen: bool
    """Still, when all was over."""


def main(options: Options) -> int:
    """All storms, then what the journal and the bystanders say of them."""
    count = options.count or STORMS
    with ExitStack() as stack:
        stack.enter_context(watchdog(120 + count))
        place = stack.enter_context(cgroup("storms"))
        scratch = stack.enter_context(folder())
        touched = stack.enter_context(bystanders())
        settings = config(scratch)
        with Daemon(settings, [rule(place, kind) for kind in LADDERS]):
            storms = [storm(place, kind, number) for number, kind in zip(range(count), kinds(), strict=False)]
        figures = judge(storms, journalled(settings))
        figures["bystanders.touched"] = Figure(len(list(touched())), f"of {len(BYSTANDERS)}", aim=0)
    conclude("storms", figures)
    return 0


def kinds() -> Iterator[str]:
    """By turns."""
    while True:
        yield from LADDERS


def rule(place: Path, kind: str) -> Rule:
    """The default policy, for storms of that kind."""
    file = DEFAULTS / "fork-storm.yaml"
    (default,) = rules_of(file.read_bytes(), file.name, "default")
    return structs.replace(
        default,
        name=f"{default.name}-{kind}",
        scope=Scope(cgroups=(f"{path_of(place)}/{kind}-*",)),
        ladder=LADDERS[kind],
        cooldown_ns=0,
        mode="enforce",
    )


def storm(parent: Path, kind: str, number: int) -> Storm:
    """From its beginning until nothing of it is left. What is only frozen is killed here, before it thaws."""
    place = parent / f"{kind}-{number}"
    place.mkdir()
    identity = place.stat().st_ino
    with program(place, "bomb", LIVE, 0) as (_, began_ns):
        stopped = await_cgroup(place, STOPPED[kind], seconds=STOP_S) != ""
    await_cgroup(place, "populated 0")
    thawed = await_cgroup(place, "frozen 0", seconds=STOP_S) != ""
    frozen = not thawed or (place / "cgroup.freeze").read_text().strip() != "0"
    place.rmdir()
    return Storm(identity, began_ns, stopped, frozen)


@contextmanager
def bystanders() -> Iterator[Callable[[], Iterator[str]]]:
    """Processes beside the storms; gives what tells which of them were frozen, stopped or ended."""
    with ExitStack() as stack:
        watched = []
        for words in BYSTANDERS:
            place = stack.enter_context(cgroup(f"bystander-{words[0]}"))
            process, _ = stack.enter_context(program(place, *words))
            events = stack.enter_context((place / "cgroup.events").open())
            events.read()
            watched.append((process.pid, events))

        def touched() -> Iterator[str]:
            poll = select.poll()
            for pid, events in watched:
                poll.register(events, select.POLLPRI)
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state in "TZX" or any(fd == events.fileno() for fd, _ in poll.poll(0)):
                    yield f"{pid}: {state}"

        yield touched


def judge(storms: Sequence[Storm], entries: Sequence[Entry]) -> dict[str, Figure]:
    """What is claimed, each beside the number it should be."""
    acts = acts_in(entries)
    wrong = list(problems(entries))
    for each in wrong[:20]:
        print(f"  {each}")
    ours = {each.cgroup for each in storms}
    reasons = Counter(undo.reason for undos in acts.undos.values() for undo in undos)
    print(f"\n{len(storms)} storms; acts {len(acts.intents)}; undone: {dict(reasons)}")
    return {
        "storms": Figure(len(storms), "1"),
        "not_stopped": Figure(sum(not each.stopped for each in storms), "storms", aim=0),
        "left_frozen": Figure(sum(each.frozen for each in storms), "cgroups", aim=0),
        "outside_scope": Figure(sum(act.cgroup not in ours for act in acts.intents.values()), "acts", aim=0),
        "journal.problems": Figure(len(wrong), "1", aim=0),
        **delays(storms, acts),
    }


def delays(storms: Sequence[Storm], acts: Acts) -> dict[str, Figure]:
    """From the beginning of a storm to the kernel's word that all of it is frozen."""
    frozen: dict[int, int] = {}
    for span, effect in acts.effects.items():
        if effect.act == "freeze":
            frozen.setdefault(acts.intents[span].cgroup, effect.time_ns)
    ms = sorted((frozen[each.cgroup] - each.began_ns) / MS for each in storms if each.cgroup in frozen)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"frozen.{word}": Figure(round(percentile(ms, share), 2), "ms") for word, share in shares.items()}
