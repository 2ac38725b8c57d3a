"""Daemons that learn, side by side under the same load: with floors, and without, to show what these do."""

from collections.abc import Iterator, Mapping
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
    "reclaim-stall": Signal.MEMORY_RECLAIM_STALL,
    "memory-pressure": Signal.PSI_MEMORY,
}
"""By policy."""
FLOORS: Final = {"runq-delay": "20ms", "block-latency": "20ms", "reclaim-stall": "10ms"}
COUNTS: Final = ("forks", "execs", "retransmits")
PRESSURES: Final = ("memory-pressure",)
"""Nothing is learned for these, and each cgroup has its own."""
Sets = Mapping[str, tuple[str, ...]]
"""Policies of each daemon. Those of one daemon share what they learn of a stream, hence two of them."""
SETS: Final[Sets] = {
    "floor": ("runq-delay", "block-latency", *COUNTS),
    "plain": ("runq-delay", "block-latency"),
}


class Learner:
    """One daemon that observes, what it tells, and what its streams come to."""

    def __init__(self, name: str, policies: tuple[str, ...], daemon: Daemon, felt: Felt) -> None:
        self.name = name
        self.policies = policies
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
def learners(cooldown: str, sets: Sets = SETS) -> Iterator[list[Learner]]:
    """All of them, armed."""
    with ExitStack() as stack:
        yield [stack.enter_context(learner(name, sets[name], cooldown)) for name in sets]


@contextmanager
def learner(name: str, policies: tuple[str, ...], cooldown: str) -> Iterator[Learner]:
    """A daemon with these policies."""
    text = "---\n".join(policy(each, cooldown, floor=name == "floor") for each in policies)
    rules = rules_of(text.encode(), "policies.yaml", "")
    with ExitStack() as stack:
        settings = config(stack.enter_context(folder()), mode="observe")
        daemon = stack.enter_context(Daemon(settings, rules))
        yield Learner(name, policies, daemon, stack.enter_context(Felt(daemon.pid)))


def policy(name: str, cooldown: str, *, floor: bool) -> str:
    """As a person writes it."""
    return f"""\
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  signal: {SIGNALS[name].name.lower().replace("_", ".", 1)}
{scope(name)}  test: {{{terms(name, floor=floor)}}}
  ladder: [{{act: observe}}]
  cooldown: {cooldown}
"""


def scope(name: str) -> str:
    """Only what is named has a pressure of its own."""
    return '  scope: {cgroups: ["/reflexarc-bench-*"]}\n' if name in PRESSURES else ""


def terms(name: str, *, floor: bool) -> str:
    """Of its test."""
    if name in PRESSURES:
        return "kind: pressure, above: 20%"
    kind = "histogram" if name in FLOORS else "rate"
    above = f", above: {FLOORS[name]}" if floor and name in FLOORS else ""
    return f"kind: {kind}{above}, false_alarms: 1/h"


def cgroup_key(path: Path) -> int:
    """Key of a cgroup's streams."""
    return path.stat().st_ino
