"""From domain values (frames, rules, records) to messages of the API: the only place that does it.

Pure. `wall_offset_ns` is wall clock minus CLOCK_MONOTONIC: the arc speaks monotonic time, the API does not.
"""

from typing import assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.link import frames, records, rules
from controlplane.link.amounts import in_words
from controlplane.link.config import Mode
from controlplane.plane.story import Reflex, Told
from controlplane.policy.steps import reach_words
from controlplane.wire import management_pb2 as pb

MODES: dict[Mode, pb.Mode] = {
    "off": pb.MODE_OFF,
    "observe": pb.MODE_OBSERVE,
    "enforce": pb.MODE_ENFORCE,
}


def timestamp(wall_ns: int) -> Timestamp:
    """Nanoseconds since the epoch as a message."""
    stamp = Timestamp()
    stamp.FromNanoseconds(wall_ns)
    return stamp


def status(arc: frames.Status, wall_offset_ns: int) -> pb.GetStatusResponse:
    """A snapshot of the arc; what only the plane knows is left to the caller."""
    return pb.GetStatusResponse(
        version=arc.version,
        pid=arc.pid,
        mode=MODES[arc.mode],
        loader=arc.loader,
        realtime=arc.realtime,
        start_time=timestamp(arc.started_ns + wall_offset_ns),
        armed_time=timestamp(arc.armed_ns + wall_offset_ns) if arc.armed_ns else None,
        time=timestamp(arc.now_ns + wall_offset_ns),
        events=arc.events,
        streams=arc.streams,
        policies=arc.rules,
        findings=arc.findings,
        steps=arc.reflexes,
        refusals=arc.refusals,
        denials=arc.denials,
        latency=_latency(arc.latency) if arc.latency else None,
        breakers_open=arc.breaker_open,
        breaker=_allowance(arc.breaker),
        in_force=[_in_force(act, wall_offset_ns) for act in arc.in_force],
        plane_restarts=arc.plane_restarts,
        link_dropped=arc.link_dropped,
        journal_records=arc.journal_records,
        journal_dropped=arc.journal_dropped,
        policy_error=arc.policy_error,
    )


def _latency(latency: frames.Latency) -> pb.Latency:
    return pb.Latency(bounds_ns=latency.bounds_ns, counts=latency.counts, sum_ns=latency.sum_ns)


def _in_force(act: frames.ActInForce, wall_offset_ns: int) -> pb.ActInForce:
    return pb.ActInForce(
        trace_id=act.trace_id.hex(),
        policy=act.rule,
        act=act.act,
        victim=pb.Victim(cgroup=act.cgroup, path=act.path, pid=act.pid),
        since=timestamp(act.since_ns + wall_offset_ns),
        until=timestamp(act.until_ns + wall_offset_ns) if act.until_ns else None,
    )


def sensor(sensor: frames.SensorStatus) -> pb.Sensor:
    """One sensor."""
    return pb.Sensor(
        name=sensor.name,
        attached=sensor.attached,
        reason=sensor.reason,
        hooks=sensor.hooks,
        signals=sensor.signals,
        seen=sensor.seen,
        emitted=sensor.emitted,
        lost=sensor.lost,
        run_ns=sensor.run_ns,
        runs=sensor.runs,
    )


def stream(stream: frames.Stream) -> pb.Stream:
    """One stream."""
    return pb.Stream(
        signal=stream.signal,
        unit=stream.unit,
        of=pb.Victim(cgroup=stream.cgroup, path=stream.path),
        count=stream.count,
        last=stream.last,
        peak=stream.peak,
        policies=stream.rules,
        histogram=stream.histogram,
    )


def policy(rule: rules.Rule) -> pb.Policy:
    """A compiled policy."""
    message = pb.Policy(
        name=rule.name,
        signal=rule.signal,
        per=rule.per,
        node=rule.scope.node,
        cgroups=rule.scope.cgroups,
        ladder=[_rung(step) for step in rule.ladder],
        cooldown_ns=rule.cooldown_ns,
        where=rule.where,
        mode=MODES[rule.mode],
        origin=rule.origin,
        quiet_ns=rule.quiet_ns,
        on_loss=rule.on_loss or "",
        protect=rule.protect,
        breaker=_allowance(rule.breaker),
    )
    match rule.test:
        case rules.Rate(interval_ns=interval_ns, burst=burst):
            message.rate.CopyFrom(pb.Rate(interval_ns=interval_ns, burst=burst))
        case rules.Level(above=above):
            message.level.CopyFrom(pb.Level(above=above))
        case rules.Poisson(allowed_ns=allowed_ns):
            message.learned_rate.CopyFrom(pb.Learned(allowed_ns=allowed_ns))
        case rules.Betting(allowed_ns=allowed_ns, above=above):
            message.learned_values.CopyFrom(pb.Learned(allowed_ns=allowed_ns, above=above))
        case rules.Rare(interval_ns=interval_ns, allowed_ns=allowed_ns):
            message.rare.CopyFrom(pb.Rare(interval_ns=interval_ns, allowed_ns=allowed_ns))
        case rules.Pressure(above=above):
            message.pressure.CopyFrom(pb.Level(above=above))
        case _:
            assert_never(rule.test)
    if rule.confirm is not None:
        message.confirmation.CopyFrom(_confirmation(rule.confirm))
    return message


def _allowance(allowance: rules.Allowance | None) -> pb.Allowance | None:
    return None if allowance is None else pb.Allowance(acts=allowance.acts, within_ns=allowance.within_ns)


def _rung(step: rules.Step) -> pb.Rung:
    amounts = (in_words(step.act, amount) for amount in step.amounts)
    sets = [step.what] if step.what else [*amounts, *reach_words(step)]
    return pb.Rung(
        act=step.act, after_ns=step.after_ns, for_ns=step.for_ns, grace_ns=step.grace_ns, sets=sets
    )


def _confirmation(confirm: rules.Confirm) -> pb.Confirmation:
    message = pb.Confirmation(signal=confirm.signal, within_ns=confirm.within_ns)
    match confirm.test:
        case rules.Rate(interval_ns=interval_ns, burst=burst):
            message.rate.CopyFrom(pb.Rate(interval_ns=interval_ns, burst=burst))
        case rules.Level(above=above):
            message.level.CopyFrom(pb.Level(above=above))
        case _:
            assert_never(confirm.test)
    return message


def policy_status(status: frames.RuleStatus) -> pb.PolicyStatus:
    """A policy in force and how it fares."""
    return pb.PolicyStatus(
        policy=policy(status.rule),
        effective_mode=MODES[status.effective_mode],
        findings=status.findings,
        breaker_open=status.breaker_open,
        breaker=_allowance(status.breaker),
        reason=status.reason,
        streams=status.budget.streams,
        tests_per_second=status.budget.tests_per_s,
        tests_per_alarm=status.budget.tests_per_alarm,
        where=status.where,
    )


def told(told: Told) -> pb.WatchResponse:
    """One thing told, as a watcher gets it."""
    message = pb.WatchResponse(uid=told.uid, time=timestamp(told.wall_ns))
    match told.record:
        case records.Finding() as record:
            message.finding.CopyFrom(_finding(record))
        case records.Lost(sensor=sensor, reason=reason, count=count):
            message.loss.CopyFrom(pb.Loss(sensor=sensor, reason=reason, count=count))
        case records.Notice() as record:
            message.notice.CopyFrom(_notice(record))
        case _ as record:
            message.step.CopyFrom(_step(record, told))
    return message


def reflex(reflex: Reflex) -> pb.Reflex:
    """One reflex with its steps."""
    steps = [told(step).step for step in reflex.steps]
    message = pb.Reflex(trace_id=reflex.trace_id.hex(), steps=steps, steps_dropped=reflex.steps_dropped)
    if reflex.finding:
        message.time.CopyFrom(timestamp(reflex.finding.wall_ns))
        message.finding.CopyFrom(told(reflex.finding).finding)
    elif any(step.policy == rules.BY_HAND for step in steps[:1]):
        message.time.CopyFrom(timestamp(reflex.steps[0].wall_ns))
    return message


def _finding(record: records.Finding) -> pb.Finding:
    victim = pb.Victim(cgroup=record.cgroup, path=record.path, pid=record.pid, comm=record.comm)
    return pb.Finding(
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        policy=record.rule,
        signal=record.signal,
        unit=record.unit,
        victim=victim,
        culprit=pb.Victim(cgroup=record.culprit, path=record.culprit_path) if record.culprit else None,
        count=record.count,
        value=record.value,
        statistic=record.statistic,
        threshold=record.threshold,
        test=record.test,
        mode=MODES[record.mode],
        decided_after_ns=record.decided_ns - record.time_ns,
    )


def _notice(record: records.Notice) -> pb.Notice:
    return pb.Notice(
        name=record.name,
        severity=record.severity,
        text=record.text,
        attributes={key: str(value) for key, value in record.attributes.items()},
    )


def _step(
    record: records.Intent | records.Outcome | records.Effect | records.Undo | records.GuardRefused,
    told: Told,
) -> pb.ReflexStep:
    message = pb.ReflexStep(
        trace_id=record.trace_id.hex(), span_id=record.span_id.hex(), policy=record.rule, act=record.act
    )
    if told.event_ns is not None:
        message.since_event_ns = record.time_ns - told.event_ns
    match record:
        case records.Intent():
            more = _intent(record, told.wall_ns - record.time_ns)
        case records.Outcome(ok=ok, error=error, detail=detail):
            more = pb.ReflexStep(kind=pb.ReflexStep.KIND_OUTCOME, ok=ok, error=error, detail=detail)
        case records.Effect(error=error):
            more = pb.ReflexStep(kind=pb.ReflexStep.KIND_EFFECT, ok=not error, error=error)
        case records.Undo():
            more = _undo(record)
        case records.GuardRefused():
            more = _refused(record)
        case _:
            assert_never(record)
    message.MergeFrom(more)
    return message


def _intent(record: records.Intent, wall_offset_ns: int) -> pb.ReflexStep:
    return pb.ReflexStep(
        kind=pb.ReflexStep.KIND_INTENT,
        parent_id=record.parent_id.hex(),
        victim=pb.Victim(cgroup=record.cgroup, path=record.path, pid=record.pid, comm=record.comm),
        mode=MODES[record.mode],
        until=timestamp(record.until_ns + wall_offset_ns) if record.until_ns else None,
        changes=[f"{each.what} {each.before} -> {each.after}" for each in record.changes],
        actor=record.actor,
    )


def _undo(record: records.Undo) -> pb.ReflexStep:
    return pb.ReflexStep(
        kind=pb.ReflexStep.KIND_UNDO,
        parent_id=record.parent_id.hex(),
        victim=pb.Victim(cgroup=record.cgroup, path=record.path, pid=record.pid),
        ok=record.ok,
        error=record.error,
        reason=record.reason,
        actor=record.actor,
        detail=record.detail,
    )


def _refused(record: records.GuardRefused) -> pb.ReflexStep:
    return pb.ReflexStep(
        kind=pb.ReflexStep.KIND_REFUSED,
        parent_id=record.parent_id.hex(),
        victim=pb.Victim(path=record.path, pid=record.pid),
        guard=record.guard,
        detail=record.detail,
    )
