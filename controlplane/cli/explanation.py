"""The story of one reflex for a person who must trust or refute it: what `explain` prints. Pure.

From what is asked first to what is asked last: what fired and how likely that was, what was done, who did
it, and then all the numbers.
"""

import textwrap
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

from controlplane.cli import chance
from controlplane.cli.drawing import Bar, histogram, plot
from controlplane.cli.show import duration, microseconds, table
from controlplane.cli.words import finding_words, quantity, reflex_policy, timeline, victim_words
from controlplane.link.rules import BY_HAND
from controlplane.wire import management_pb2 as pb

WIDTH: Final = 100
INDENT: Final = "    "


def explanation(explained: pb.ExplainResponse) -> Iterator[str]:
    """All of it, no line longer than `WIDTH`."""
    reflex = explained.reflex
    head, *steps = timeline(reflex)
    yield from folded([head])
    if reflex.HasField("finding"):
        yield from _section("why", _why(reflex.finding, explained.evidence))
    yield from _section("what was done", steps)
    if explained.HasField("evidence") and reflex.HasField("finding"):
        yield from _evidence(reflex.finding, explained.evidence)
    elif reflex_policy(reflex) == BY_HAND:
        yield ""
        yield "nothing led to it: somebody asked for it"
    else:
        yield ""
        yield "what led to it is not known: findings came too fast, or it is no longer kept"


def _evidence(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    yield from _section("who", _who(finding, evidence))
    if evidence.trail:
        yield from _section("the statistic against its threshold", _plot(finding, evidence))
    if evidence.histogram:
        yield from _section(f"all values of {finding.signal} in this stream", _histogram(finding, evidence))
    if evidence.trail:
        yield from _section(f"the last {len(evidence.trail)} records", _records(finding, evidence))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    yield from folded(lines)


def folded(lines: Iterable[str]) -> Iterator[str]:
    """Nothing wider than `WIDTH`, and nothing that a terminal would take for an order."""
    for line in lines:
        plain = "".join(char if char.isprintable() else "?" for char in line)
        indent = " " * (len(plain) - len(plain.lstrip()) + 4)
        yield from textwrap.wrap(
            plain, WIDTH, subsequent_indent=indent[: WIDTH // 2], break_on_hyphens=False
        ) or [""]


def _why(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    yield f"{INDENT}{finding_words(finding)}"
    tests = chance.tests_until(finding.test, finding.statistic, finding.threshold, evidence.allowed)
    if tests:
        words = chance.chance_words(tests, evidence.tests_per_s, evidence.streams)
        yield f"{INDENT}by chance: {words}"
        if evidence.tests_per_s > 0:
            allowed = chance.span_words(evidence.allowed / evidence.tests_per_s)
            yield f"{INDENT}the policy allows one in {allowed}"
    elif finding.test in chance.LEARNED:
        yield f"{INDENT}how likely that is by chance is not known"
    else:
        yield f"{INDENT}{_exceeded(finding)}"
    yield from (f"{INDENT}{line}" for line in _taken(finding, evidence, tests))


def _exceeded(finding: pb.Finding) -> str:
    over = finding.statistic - finding.threshold
    times = f", {finding.statistic / finding.threshold:,.3g} times as much" if finding.threshold > 0 else ""
    return f"over the fixed threshold by {_statistic(finding, over)}{times}"


def _taken(finding: pb.Finding, evidence: pb.Evidence, tests: float) -> Iterator[str]:
    """What it would have taken to fire sooner, or not at all."""
    match finding.test:
        case "rate":
            fewer = finding.statistic - finding.threshold
            yield f"with {fewer:,.4g} events fewer, or as many in a longer time, it would not have fired"
        case "level":
            yield f"it would not have fired at {_statistic(finding, finding.threshold)} or less"
        case _ if tests and evidence.tests_per_s > 0:
            rarer = chance.span_words(tests / evidence.tests_per_s)
            yield f"with `false_alarms` rarer than one in {rarer} it would not have fired yet"
        case _:
            yield f"it would not have fired with a statistic below {_statistic(finding, finding.threshold)}"
    yield from _before(finding, evidence)


def _before(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    earlier = evidence.trail[-2::-1]
    over = list(takewhile(lambda sample: sample.statistic > finding.threshold, earlier))
    if over:
        since = microseconds(-over[-1].since_event_ns)
        yield f"it had been over the threshold for {len(over)} records, {since}, in an earlier one's cooldown"
    elif earlier and finding.threshold > 0:
        share = max(0.0, earlier[0].statistic) / finding.threshold
        yield f"one record earlier it stood at {share:,.0%} of the threshold"


def _quantity(finding: pb.Finding, number: float) -> str:
    return quantity(number, finding.signal, finding.unit)


def _statistic(finding: pb.Finding, number: float) -> str:
    match finding.test:
        case "level" | "pressure":
            return _quantity(finding, number)
        case "rate":
            return f"{number:,.4g} events"
        case _:
            return f"{number:,.4g}"


def _who(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    for suspect in evidence.suspects:
        share = f"in {suspect.records} of the last {len(evidence.trail)} records"
        yield f"{INDENT}{victim_words(suspect.who)} {_blame(finding, suspect)} {share}"
    if not evidence.suspects:
        yield f"{INDENT}the records name nobody"
    lately = duration(evidence.recent_ns)
    yield f"{INDENT}in the {lately} before, told of {finding.signal} where a policy looks:"
    rivals = [(evidence.itself, "  <- this one"), *((rival, "") for rival in evidence.rivals)]
    rows = [(rival.recent, rival.total or "", f"{rival.path or '?'}{this}") for rival, this in rivals]
    yield from (f"{INDENT}{line}" for line in table(("EVENTS", "SO FAR", "STREAM"), rows).splitlines())


def _blame(finding: pb.Finding, suspect: pb.Suspect) -> str:
    if not suspect.who.cgroup:
        return "is the parent of those named" if suspect.parent else "is the process named"
    return "ran instead" if finding.HasField("culprit") else "was at work"


def _plot(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    kind = finding.test
    heights = [chance.drawn(kind, sample.statistic) for sample in evidence.trail]
    bits = " bits" if kind in chance.WINNINGS or kind == "histogram" else ""
    yield from plot(heights, chance.drawn(kind, finding.threshold), lambda number: f"{number:,.4g}{bits}")
    began = microseconds(evidence.trail[0].since_event_ns)
    yield f"{'':14}{began} ... the record that fired".rstrip()


def _histogram(finding: pb.Finding, evidence: pb.Evidence) -> Iterator[str]:
    bars = [Bar(bucket.least, bucket.count) for bucket in evidence.histogram]
    marks = [(finding.value, "the value")]
    if finding.test == "level":
        marks.append((finding.threshold, "the threshold"))
    if evidence.floor:
        marks.append((evidence.floor, "the floor: what is below is no evidence"))
    return histogram(bars, marks, lambda number: _quantity(finding, number))


def _records(finding: pb.Finding, evidence: pb.Evidence) -> list[str]:
    rows = [
        (
            f"{microseconds(sample.since_event_ns):>16}",
            _quantity(finding, sample.value),
            sample.weight,
            f"{sample.statistic:,.4g}",
            str(sample.pid or ""),
        )
        for sample in evidence.trail
    ]
    head = (f"{'SINCE EVENT':>16}", "VALUE", "EVENTS", "STATISTIC", "PID")
    return [f"{INDENT}{line}" for line in table(head, rows).splitlines()]
