"""From the story of a reflex to the answer of `Explain`. Pure."""

from controlplane.link import records
from controlplane.link.samples import Sample, samples_in
from controlplane.plane.api import convert
from controlplane.plane.story import Reflex
from controlplane.wire import management_pb2 as pb


def explanation(reflex: Reflex) -> pb.ExplainResponse:
    """A reflex and what led to it."""
    message = pb.ExplainResponse(reflex=convert.reflex(reflex))
    if reflex.evidence:
        message.evidence.CopyFrom(_evidence(records.EVIDENCE.decode(reflex.evidence)))
    return message


def _evidence(record: records.Evidence) -> pb.Evidence:
    samples = samples_in(record.trail)
    return pb.Evidence(
        trail=[_sample(sample, samples[-1].time_ns) for sample in samples],
        histogram=[pb.Bucket(least=bucket.least, count=bucket.count) for bucket in record.buckets],
        floor=record.floor,
        recent_ns=record.recent_ns,
        itself=_rival(record.itself),
        rivals=map(_rival, record.rivals),
        suspects=map(_suspect, record.suspects),
        allowed=record.allowed,
        tests_per_s=record.tests_per_s,
        streams=record.streams,
    )


def _sample(sample: Sample, event_ns: int) -> pb.Sample:
    return pb.Sample(
        since_event_ns=sample.time_ns - event_ns,
        value=sample.value,
        weight=sample.weight,
        statistic=sample.statistic,
        pid=sample.pid,
        cgroup=sample.who,
    )


def _rival(rival: records.Rival) -> pb.Rival:
    return pb.Rival(path=rival.path, recent=rival.recent, peak=rival.peak, total=rival.total)


def _suspect(suspect: records.Suspect) -> pb.Suspect:
    who = pb.Victim(cgroup=suspect.cgroup, path=suspect.path, pid=suspect.pid, comm=suspect.comm)
    return pb.Suspect(who=who, records=suspect.records, parent=suspect.parent)
