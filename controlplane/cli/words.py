"""Findings, steps, losses and notices in words: what `watch`, `history` and `top` print."""

from collections.abc import Iterator
from typing import Final

from controlplane.cli.show import NS_PER_S, clock, date, duration, microseconds, mode_word
from controlplane.link.signals import BY_NAME, unit_in_words
from controlplane.wire import management_pb2 as pb

Step = pb.ReflexStep
BEYOND: Final = 2.0**64
"""More than the kernel can tell."""
KINDS: Final = {
    Step.KIND_INTENT: "intent",
    Step.KIND_OUTCOME: "returned",
    Step.KIND_EFFECT: "effect",
    Step.KIND_UNDO: "undo",
    Step.KIND_REFUSED: "refused",
}
SECONDS_OF: Final = {"s": 1, "min": 60, "h": 3600, "day": 86_400, "week": 604_800}


def event_line(event: pb.WatchResponse) -> str:
    """One thing told, on one line."""
    return f"{clock(event.time)}  {event_words(event)}"


def event_words(event: pb.WatchResponse) -> str:
    """One thing told, without its time."""
    match event.WhichOneof("event"):
        case "finding":
            finding = event.finding
            return f"finding   {finding.policy}: {finding_words(finding)}  trace {finding.trace_id}"
        case "step":
            step = event.step
            since = f"  +{microseconds(step.since_event_ns)}" if step.HasField("since_event_ns") else ""
            return f"{KINDS[step.kind]:8}  {step.policy}: {step_words(step)}{since}"
        case "loss":
            return f"lost      {event.loss.count:,} events of {event.loss.sensor}: {event.loss.reason}"
        case _:
            return f"{event.notice.severity:8}  {event.notice.name}  {event.notice.text}".rstrip()


def finding_words(finding: pb.Finding) -> str:
    """What fired and who is affected."""
    culprit = f", {victim_words(finding.culprit)} ran instead" if finding.HasField("culprit") else ""
    return f"{finding.signal} {_evidence(finding)} in {victim_words(finding.victim)}{culprit}"


def _evidence(finding: pb.Finding) -> str:
    if finding.test == "level":
        value, bound = (
            quantity(number, finding.signal, finding.unit)
            for number in (finding.statistic, finding.threshold)
        )
        return f"{value} > {bound}"
    return f"{finding.test} {finding.statistic:,.4g} > {finding.threshold:,.4g}"


LEFT: Final = {
    "foreign": ", what somebody else changed meanwhile was left",
    "shared": ", still held by another reflex",
}
"""What came of an undo that left something as it was."""


def step_words(step: pb.ReflexStep) -> str:
    """What one step did, or would have done."""
    match step.kind:
        case Step.KIND_INTENT:
            act = f"would {step.act}" if step.mode == pb.MODE_OBSERVE else step.act
            who = f", asked for by {step.actor}" if step.actor else ""
            return f"{act} {victim_words(step.victim)}{_changes_words(step)}{who}"
        case Step.KIND_OUTCOME:
            detail = f" ({step.detail})" if step.detail else ""
            return f"{step.act} done{detail}" if step.ok else f"{step.act} failed: {step.error}{detail}"
        case Step.KIND_EFFECT:
            return f"{step.act} not seen to take effect" if step.error else f"{step.act} in effect"
        case Step.KIND_UNDO:
            who = f" by {step.actor}" if step.actor else ""
            came_of_it = LEFT.get(step.error, "") if step.ok else f", failed: {step.error}"
            detail = f"; {step.detail}" if step.detail else ""
            return f"{step.act} undone ({step.reason}{who}){came_of_it}{detail}"
        case _:
            detail = f": {step.detail}" if step.detail else ""
            return f"{step.act} forbidden by {step.guard}{detail}"


def _changes_words(step: pb.ReflexStep) -> str:
    """Of a freeze the name of the act says it."""
    return f" ({', '.join(step.changes)})" if step.changes and step.act != "freeze" else ""


def victim_words(victim: pb.Victim) -> str:
    """A cgroup, or a process in it."""
    where = victim.path or (f"cgroup {victim.cgroup}" if victim.cgroup else "")
    who = f"pid {victim.pid}" if victim.pid else ""
    name = f"({victim.comm})" if victim.pid and victim.comm else ""
    return " ".join(filter(None, (where, who, name)))


def timeline(reflex: pb.Reflex) -> Iterator[str]:
    """A reflex from event to undo, each step in microseconds since the event."""
    began = date(reflex.time) if reflex.HasField("time") else "(finding no longer known)"
    yield f"{began}  {reflex_policy(reflex)}  trace {reflex.trace_id}"
    if reflex.HasField("finding"):
        finding = reflex.finding
        yield _row(0, "event", finding_words(finding))
        yield _row(
            finding.decided_after_ns, "decision", f"{finding.policy} fired, mode {mode_word(finding.mode)}"
        )
    for step in reflex.steps:
        since = step.since_event_ns if step.HasField("since_event_ns") else None
        yield _row(since, KINDS[step.kind], step_words(step))
    if reflex.steps_dropped:
        yield _row(None, "", f"and {reflex.steps_dropped} more steps")


def reflex_policy(reflex: pb.Reflex) -> str:
    """The policy a reflex belongs to."""
    if reflex.HasField("finding"):
        return reflex.finding.policy
    return reflex.steps[0].policy if reflex.steps else ""


def _row(since_ns: int | None, kind: str, text: str) -> str:
    since = microseconds(since_ns) if since_ns is not None else "?"
    return f"{since:>20}  {kind:8}  {text}".rstrip()


def test_words(policy: pb.Policy) -> str:
    """What fires a policy."""
    match policy.WhichOneof("test"):
        case "level":
            return _above(policy.level, policy.signal)
        case "learned_rate":
            return f"faster than usual, {allowance_words(policy.learned_rate.allowed_ns)}"
        case "learned_values":
            above = policy.learned_values.above
            floor = f" and > {quantity(above, policy.signal, '')}" if above else ""
            return f"higher than usual{floor}, {allowance_words(policy.learned_values.allowed_ns)}"
        case "rare":
            return f"> {rate(policy.rare.interval_ns)}, {allowance_words(policy.rare.allowed_ns)}"
        case "pressure":
            return f"{_above(policy.pressure, policy.signal)} for a minute"
    return _faster(policy.rate)


def _above(level: pb.Level, signal: str) -> str:
    return f"> {quantity(level.above, signal, '')}"


def _faster(rate: pb.Rate) -> str:
    return f"> {NS_PER_S / rate.interval_ns:,.6g}/s, burst {rate.burst}"


def allowance_words(allowed_ns: int) -> str:
    """An allowance of false alarms."""
    return f"{rate(allowed_ns)} by chance"


def rate(interval_ns: int) -> str:
    """Once in so long, as policies have it: `1/day`."""
    fitting = (unit for unit, seconds in SECONDS_OF.items() if interval_ns <= seconds * NS_PER_S)
    unit = next(fitting, "week")
    return f"{SECONDS_OF[unit] * NS_PER_S / interval_ns:,.4g}/{unit}"


def breaker_words(allowance: pb.Allowance) -> str:
    """How often what cannot be undone may be done."""
    return f"{allowance.acts:,} in {duration(allowance.within_ns)}"


def ladder_words(policy: pb.Policy) -> str:
    """The acts of a policy, from mild to final, and what must confirm those that cannot be undone."""
    ladder = ", ".join(_rung_words(rung) for rung in policy.ladder)
    if any(_outlasts(rung, policy.quiet_ns) for rung in policy.ladder):
        ladder += f"; over after {duration(policy.quiet_ns)} of quiet"
    return (
        f"{ladder}; {_confirmation_words(policy.confirmation)}" if policy.HasField("confirmation") else ladder
    )


def _outlasts(rung: pb.Rung, quiet_ns: int) -> bool:
    """A frozen victim is quiet in any case, so that a freeze lasts its time."""
    lasts_ns = 0 if rung.act == "freeze" else rung.for_ns
    return rung.after_ns + lasts_ns > quiet_ns > 0


def _confirmation_words(confirmation: pb.Confirmation) -> str:
    signal = confirmation.signal
    by_level = confirmation.WhichOneof("test") == "level"
    above = _above(confirmation.level, signal) if by_level else _faster(confirmation.rate)
    return f"kill only if {signal} {above} within {duration(confirmation.within_ns)}"


def _rung_words(rung: pb.Rung) -> str:
    after = f" after {duration(rung.after_ns)}" if rung.after_ns else ""
    lasting = f" for {duration(rung.for_ns)}" if rung.for_ns else ""
    sets = "".join(f" {each}" for each in rung.sets)
    grace = f" with {duration(rung.grace_ns)} of grace" if rung.grace_ns else ""
    return f"{rung.act}{sets}{grace}{after}{lasting}"


def quantity(value: float, signal: str, unit: str) -> str:
    """A value of a signal with its unit, durations in a readable one; as it is where no signal has such."""
    if not abs(value) < BEYOND:
        return f"{value:.3g}"
    known = BY_NAME.get(signal)
    unit = unit or (known.unit if known else "")
    if unit == "ns":
        return microseconds(round(value))
    if unit == "%":
        return f"{value / 100:,.4g} %"
    return f"{value:,.6g}{unit_in_words(unit)}"
