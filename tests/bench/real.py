"""Learned policies on this machine's own streams: false findings under healthy load, delay of true ones.

Memory thrash is in `thrash`: it needs a memory controller in cgroup2, as emulated machines have.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from controlplane.arc.monitor.counts import WARM_UP
from controlplane.arc.monitor.gates import SUMMARY
from controlplane.link.records import Finding
from controlplane.link.rules import NS
from controlplane.link.samples import samples_in
from tests.bench.faults import KINDS, Kind, Subject
from tests.bench.healthy import Spell, loads, order
from tests.bench.learned import (
    ALLOWED_PER_S,
    COUNTS,
    PRESSURES,
    SETS,
    SIGNALS,
    Learner,
    Sets,
    learners,
)
from tests.bench.report import Figure, Options, conclude, percentile
from tests.bench.testbed import CannotMeasureError, watchdog

SECONDS: Final = 600
COUNT: Final = 20
READY_S: Final = 120
"""For a stream to be learned, or for its last alarm to end."""
LEARNED: Final = 2 * WARM_UP * SUMMARY
"""Events by which a rate is well known."""
POLL_S: Final = 0.05
SEED: Final = 4
TRAIL: Final = 8
"""Records before a finding that are shown."""


class Found(NamedTuple):
    """One fault, as one daemon found it."""

    ms: float
    """From its beginning to the record that fired."""
    events: int
    """Of the stream, in between and a little more."""
    decided_us: float
    """From that record to the decision."""


def main(options: Options) -> int:
    """Healthy load first, then faults."""
    seconds, count = options.seconds or SECONDS, options.count or COUNT
    with watchdog(seconds + 180):
        figures = healthy(seconds)
    for name, kind in KINDS.items():
        figures |= summarise(name, inflict(kind, count))
    conclude("real", figures)
    return 0


def healthy(seconds: int) -> dict[str, Figure]:
    """Findings of either daemon while nothing is wrong."""
    with loads() as load, learners("1m") as both:
        spells = [load(kind, length) for kind, length in order(seconds)]
        print(f"\n{seconds} s of healthy load: {', '.join(spell.kind for spell in spells)}")
        figures: dict[str, Figure] = {}
        for learner in both:
            figures |= account(learner, spells, seconds)
        return figures


def account(learner: Learner, spells: Sequence[Spell], seconds: int) -> dict[str, Figure]:
    """Findings by policy against what the budget allows in that time."""
    findings, figures = learner.findings(), {}
    for each in findings:
        show(each, learner, spells)
    for policy in learner.policies:
        mine = [each for each in findings if each.rule == policy]
        known, learned = streams(learner, policy)
        name = f"healthy.{learner.name}.{policy}"
        print(f"  {learner.name} {policy}: {len(mine)} findings, {learned} of {known} streams armed")
        figures[f"{name}.findings"] = Figure(len(mine), "1", aim=round(seconds * ALLOWED_PER_S, 3))
        figures[f"{name}.armed"] = Figure(learned, f"of {known}")
    return figures


def show(finding: Finding, learner: Learner, spells: Sequence[Spell]) -> None:
    """One that was not due, with what may explain it."""
    at = next((one for one in spells if one.begin_ns <= finding.time_ns < one.end_ns), spells[-1])
    print(
        f"  {learner.name} {finding.rule}: {(finding.time_ns - spells[0].begin_ns) / NS:.1f} s,"
        f" {(finding.time_ns - at.begin_ns) / NS:.1f} s into {at.kind}:"
        f" {finding.stream or finding.path} ({finding.comm}), {finding.value:.6g} {finding.unit},"
        f" {finding.statistic:.1f} of {finding.threshold:.1f}; culprit {finding.culprit_path or 'none'}"
    )
    evidence = learner.evidence(finding)
    if evidence is not None:
        told = " ".join(f"{sample.value:.4g}" for sample in samples_in(evidence.trail)[-TRAIL:])
        buckets = " ".join(f"{bucket.least:.0f}:{bucket.count}" for bucket in evidence.buckets)
        print(f"    told before: {told}\n    of {evidence.itself.total} events, by size: {buckets}")


def streams(learner: Learner, policy: str) -> tuple[int, int]:
    """(all, those that may fire) of one policy now."""
    signal = SIGNALS[policy]
    keys = list(learner.felt.keys(signal))
    return len(keys), sum(is_learned(learner, policy, key) for key in keys)


def is_learned(learner: Learner, policy: str, key: int) -> bool:
    """Whether a stream may fire."""
    if policy in PRESSURES:
        return True
    if policy in COUNTS:
        return learner.felt.total(SIGNALS[policy], key) >= LEARNED
    return learner.felt.bets(SIGNALS[policy], key).armed


def inflict(kind: Kind, count: int, sets: Sets = SETS) -> dict[str, list[Found | None]]:
    """That many faults of a kind; what each daemon made of them, None for what it missed."""
    found: dict[str, list[Found | None]] = {}
    dice = random.Random(SEED)
    with watchdog(round(120 + count * (kind.age_s + READY_S + kind.found_s))), learners("1s", sets) as both:
        for _ in range(count if kind.fresh else 1):
            with kind.subject() as subject:
                time.sleep(kind.age_s)
                wanted = [learner for learner in both if subject.policy in learner.policies]
                for _ in range(1 if kind.fresh else count):
                    for learner, result in once(wanted, subject, dice.uniform(0.2, 1.2), kind.found_s):
                        found.setdefault(learner.name, []).append(result)
                        told = f"{result.ms:.0f} ms" if result else "missed"
                        print(f"  {subject.policy}, {learner.name}: {told}", flush=True)
    return found


def once(
    wanted: Sequence[Learner], subject: Subject, pause_s: float, found_s: float
) -> Iterator[tuple[Learner, Found | None]]:
    """One fault, by those daemons for which all is calm."""
    calm = [learner for learner in wanted if await_calm(learner, subject)]
    time.sleep(pause_s)
    before = [learner.felt.total(SIGNALS[subject.policy], subject.key) for learner in calm]
    with subject.fault() as began_ns:
        found = [await_found(learner, subject, began_ns, found_s) for learner in calm]
    for learner, total, finding in zip(calm, before, found, strict=True):
        yield learner, None if finding is None else describe(learner, finding, began_ns, total)


def await_calm(learner: Learner, subject: Subject) -> bool:
    """Whether the stream is learned, and its last alarm over, within READY_S."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        is_open = learner.felt.bets(SIGNALS[subject.policy], subject.key).open
        if is_learned(learner, subject.policy, subject.key) and not is_open:
            return True
        time.sleep(POLL_S)
    print(f"  {learner.name} {subject.policy}: not calm within {READY_S} s, left out")
    return False


def await_found(learner: Learner, subject: Subject, began_ns: int, found_s: float) -> Finding | None:
    """The first finding of that stream, if it comes in time."""
    last_ns = began_ns + round(found_s * NS)
    while True:
        late = time.monotonic_ns() > last_ns
        for each in learner.findings():
            mine = each.rule == subject.policy and (each.stream or each.path) == subject.path
            if mine and began_ns <= each.time_ns <= last_ns:
                return each
        if late:
            return None
        time.sleep(POLL_S)


def describe(learner: Learner, finding: Finding, began_ns: int, before: int) -> Found:
    """How late it was. What led to it is told right after it."""
    evidence = learner.evidence(finding)
    if evidence is None:
        raise CannotMeasureError(f"{finding.rule} was not explained")
    return Found(
        ms=(finding.time_ns - began_ns) / 1e6,
        events=evidence.itself.total - before,
        decided_us=(finding.decided_ns - finding.time_ns) / 1e3,
    )


def summarise(kind: str, tried: dict[str, list[Found | None]]) -> dict[str, Figure]:
    """Delays in time and in events. What was missed is none: it counts by itself."""
    figures: dict[str, Figure] = {}
    for name, each in tried.items():
        found = [one for one in each if one is not None]
        label = f"{kind.replace(' ', '_')}.{name}"
        figures[f"{label}.missed"] = Figure(len(each) - len(found), f"of {len(each)}", aim=0)
        if found:
            figures |= {f"{label}.{word}": figure for word, figure in delays(found).items()}
    return figures


def delays(found: Sequence[Found]) -> dict[str, Figure]:
    """Median and 90th percentile."""
    ms, events, decided = (sorted(column) for column in zip(*found, strict=True))
    figures = {}
    for word, share in (("p50", 0.5), ("p90", 0.9)):
        figures[word] = Figure(round(percentile(ms, share), 1), "ms")
        figures[f"events.{word}"] = Figure(percentile(events, share), "events")
        figures[f"decided.{word}"] = Figure(round(percentile(decided, share), 1), "us")
    return figures
