"""Daemons that learn, side by side under the same load: with floors, and without, to show what these do."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from controlplane.arc.kernel.events import Signal
from controlplane.link.records import Evidence, Finding
from controlplane.policy.compile import rules_of
from tests.bench.daemon import Daemon, config
from tests.bench.felt import Felt
from tests.bench.testbed import folder

ALLOWED_PER_S: Final = 1 / 3600
"""False alarms of each policy, over all its streams."""
SIGNALS: Final = {
    "runq-delay": Signal.CPU_RUNQ_DELAY,
    "block-latency": Signal.BLOCK_LATENCY,
    "forks": Signal.PROCESS_FORK,
    "execs": Signal.PROCESS_EXEC,
    "retransmits": Signal.NET_RETRANSMIT,
}
"""By policy."""
FLOORS: Final = {"runq-delay": "20ms", "block-latency": "20ms"}
COUNTS: Final = ("forks", "execs", "retransmits")
SETS: Final = {"floor": (*FLOORS, *COUNTS), "plain": tuple(FLOORS)}
"""Policies of each daemon. Those of one daemon share what they learn of a stream, hence two of them."""


class Learner:
    """One daemon that observes, what it tells, and what its streams come to."""

    def __init__(self, name: str, daemon: Daemon, felt: Felt) -> None:
        self.name = name
        self.felt = felt
        self._daemon = daemon

    def evidence(self, finding: Finding) -> Evidence | None:
        """What led to it; None where it was not told."""
        for record in self._daemon.records():
            if isinstance(record, Evidence) and record.trace_id == finding.trace_id:
                return record
        return None

    def findings(self) -> list[Finding]:
        """All of them, from the journal."""
        return [record for record in self._daemon.records() if isinstance(record, Finding)]


@contextmanager
def learners(cooldown: str, sets: tuple[str, ...] = tuple(SETS)) -> Iterator[list[Learner]]:
    """Both of them, armed."""
    with ExitStack() as stack:
        yield [stack.enter_context(learner(name, cooldown)) for name in sets]


@contextmanager
def learner(name: str, cooldown: str) -> Iterator[Learner]:
    """The daemon with that set of policies."""
    text = "---\n".join(policy(each, cooldown, floor=name == "floor") for each in SETS[name])
    rules = rules_of(text.encode(), "policies.yaml", "")
    with ExitStack() as stack:
        settings = config(stack.enter_context(folder()), mode="observe")
        daemon = stack.enter_context(Daemon(settings, rules))
        yield Learner(name, daemon, stack.enter_context(Felt(daemon.pid)))


def policy(name: str, cooldown: str, *, floor: bool) -> str:
    """As a person writes it."""
    kind = "histogram" if name in FLOORS else "rate"
    above = f", above: {FLOORS[name]}" if floor and name in FLOORS else ""
    return f"""\
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  signal: {SIGNALS[name].name.lower().replace("_", ".", 1)}
  test: {{kind: {kind}{above}, false_alarms: 1/h}}
  ladder: [{{act: observe}}]
  cooldown: {cooldown}
"""


def cgroup_key(path: Path) -> int:
    """Key of a cgroup's streams."""
    return path.stat().st_ino
