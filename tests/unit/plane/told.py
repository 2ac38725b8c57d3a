"""Records for tests: one reflex from finding to undo, 41 us to decide, 55 us to act."""

from controlplane.link import records
from controlplane.link.config import Mode
from controlplane.link.samples import Sample, pack

EVENT_NS = 5_000_000_000
TRACE = bytes(range(16))
ROOT = bytes(8)
SPAN = bytes([1] * 8)


def finding(trace_id: bytes = TRACE, *, mode: Mode = "enforce") -> records.Finding:
    return records.Finding(
        time_ns=EVENT_NS,
        trace_id=trace_id,
        span_id=ROOT,
        decided_ns=EVENT_NS + 41_000,
        rule="fork-storm",
        signal="process.fork",
        unit="1",
        cgroup=99,
        path="/storm",
        pid=1234,
        start_ns=77,
        comm="sh",
        count=64,
        value=812.0,
        statistic=812.0,
        threshold=500.0,
        test="rate",
        mode=mode,
    )


def repeated() -> records.Repeated:
    return records.Repeated(
        time_ns=EVENT_NS + 65_000_000_000,
        trace_id=TRACE,
        span_id=ROOT,
        rule="fork-storm",
        signal="process.fork",
        cgroup=99,
        path="/storm",
        repeats=117,
        lasted_ns=2_500_000_000,
    )


def samples() -> list[Sample]:
    """A storm that doubles: eight records of ever more forks by one parent."""
    return [
        Sample(
            time_ns=EVENT_NS - (7 - number) * 10_000_000,
            value=2.0**number,
            statistic=6.35 * 2**number,
            weight=2**number,
            pid=1227 + number,
            parent=1200,
            who=99,
        )
        for number in range(8)
    ]


def evidence(trace_id: bytes = TRACE) -> records.Evidence:
    return records.Evidence(
        time_ns=EVENT_NS + 100_000,
        trace_id=trace_id,
        span_id=ROOT,
        rule="fork-storm",
        signal="process.fork",
        trail=pack(samples()),
        recent_ns=10_000_000_000,
        itself=records.Rival("/storm", 255, 128.0, 40_255),
        rivals=(records.Rival("/builds", 64, 16.0, 120_000),),
        suspects=(records.Suspect(0, "", 1200, "sh", 8, parent=True),),
    )


def intent(trace_id: bytes = TRACE, *, carried: bool = False, mode: Mode = "enforce") -> records.Intent:
    return records.Intent(
        time_ns=EVENT_NS + 45_000,
        trace_id=trace_id,
        span_id=SPAN,
        parent_id=ROOT,
        rule="fork-storm",
        step=0,
        act="freeze",
        cgroup=99,
        path="/storm",
        changes=(records.Change("cgroup.freeze", "0", "1"),),
        until_ns=EVENT_NS + 10_000_000_000,
        mode=mode,
        event_ns=EVENT_NS,
        carried=carried,
    )


def outcome(trace_id: bytes = TRACE) -> records.Outcome:
    return records.Outcome(
        time_ns=EVENT_NS + 55_000,
        trace_id=trace_id,
        span_id=SPAN,
        rule="fork-storm",
        act="freeze",
        ok=True,
        event_ns=EVENT_NS,
        decided_ns=EVENT_NS + 41_000,
    )


def effect(trace_id: bytes = TRACE) -> records.Effect:
    return records.Effect(
        time_ns=EVENT_NS + 80_000,
        trace_id=trace_id,
        span_id=SPAN,
        rule="fork-storm",
        act="freeze",
        event_ns=EVENT_NS,
    )


def undo(trace_id: bytes = TRACE) -> records.Undo:
    return records.Undo(
        time_ns=EVENT_NS + 10_000_000_000,
        trace_id=trace_id,
        span_id=bytes([2] * 8),
        parent_id=SPAN,
        rule="fork-storm",
        act="freeze",
        cgroup=99,
        path="/storm",
        reason="timer",
        ok=True,
        event_ns=EVENT_NS,
    )


def refused(trace_id: bytes = TRACE) -> records.GuardRefused:
    return records.GuardRefused(
        time_ns=EVENT_NS + 43_000,
        trace_id=trace_id,
        span_id=bytes([3] * 8),
        parent_id=ROOT,
        rule="fork-storm",
        act="kill",
        guard="protected",
        detail="sshd",
        pid=1,
    )


def reflex(trace_id: bytes = TRACE) -> list[records.Record]:
    return [finding(trace_id), intent(trace_id), outcome(trace_id), effect(trace_id), undo(trace_id)]


def explained(trace_id: bytes = TRACE) -> list[records.Record]:
    """A reflex with its evidence, where the journal has it."""
    first, *rest = reflex(trace_id)
    return [first, *rest[:2], evidence(trace_id), *rest[2:]]
