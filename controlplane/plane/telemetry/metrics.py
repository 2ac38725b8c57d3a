"""Every metric: names, help, and how each follows from one snapshot. Nothing is kept between two scrapes.

Counters are kept where the counted things happen; this only renders them. Pure. What is known to be countable
is told as 0 from the beginning: to Prometheus a counter that appears with a value has not grown.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from controlplane import __version__
from controlplane.link.frames import Latency, SensorStatus, Status
from controlplane.link.records import Guard
from controlplane.link.rules import ActName
from controlplane.plane.telemetry.processes import Usage

PREFIX: Final = "reflexarc_"
NS: Final = 1e9

ACTS: Final = tuple(act for act in get_args(ActName) if act != "observe")
LOG_OUTCOMES: Final = ("exported", "rejected", "dead_letter")
EXPORT_CODES: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
SCRAPE_OUTCOMES: Final = ("answered", "refused", "expired", "crowded", "broken")

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]


@dataclass(frozen=True)
class Snapshot:
    """What both processes know at one moment; `status` is None when the arc did not answer."""

    status: Status | None = None
    health: Mapping[str, bool] = field(default_factory=dict)
    journal_bytes: int = 0
    journal_missing: int = 0
    """Records the arc wrote and dropped before they were copied."""
    journal_undecodable: int = 0
    journal_write_errors: int = 0
    backlog_bytes: int = 0
    log_records: Mapping[str, int] = field(default_factory=dict)
    """By what became of them."""
    export_failures: Mapping[str, int] = field(default_factory=dict)
    """By status code."""
    watchers: int = 0
    watchers_dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    health_watchers: int = 0
    scrapes: Mapping[str, int] = field(default_factory=dict)
    """Connections to the metrics port, by how they ended."""
    usage: Mapping[str, Usage] = field(default_factory=dict)
    """Of `arc` and `plane`."""


class Metrics(Collector):
    """One snapshot, as prometheus_client's encoders want it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """All families."""
        return families(self._snapshot)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """All families of one snapshot; those of the arc only where it answered."""
    yield _gauge("up", "Whether the arc answered", [((), snapshot.status is not None)])
    yield from _of_plane(snapshot)
    if snapshot.status is not None:
        yield from _of_arc(snapshot.status)
        yield from _of_reflexes(snapshot.status)
        yield from _of_sensors(snapshot.status.sensors)
    dropped = {"copied": snapshot.journal_missing, "exported": snapshot.log_records.get("dropped", 0)}
    if snapshot.status is not None:
        dropped["written"] = snapshot.status.journal_dropped
    yield _counter(
        "journal_dropped", "Journal records dropped before they could be `stage`", _by(dropped), ("stage",)
    )


def _of_plane(snapshot: Snapshot) -> Iterator[Metric]:
    outcomes = _from(LOG_OUTCOMES, snapshot.log_records)
    outcomes.pop("dropped", None)
    yield _gauge("build_info", "Version of the plane", [((__version__,), 1)], ("version",))
    yield _gauge("healthy", "Whether a component serves", _by(snapshot.health), ("component",))
    yield _gauge("journal_bytes", "Size of the journal on the disk", [((), snapshot.journal_bytes)])
    yield _counter(
        "journal_undecodable", "Journal records not understood", [((), snapshot.journal_undecodable)]
    )
    yield _counter("journal_write_errors", "Failed writes to the disk", [((), snapshot.journal_write_errors)])
    yield _gauge("log_backlog_bytes", "Journal not yet acknowledged", [((), snapshot.backlog_bytes)])
    yield _counter("log_records", "Log records by what became of them", _by(outcomes), ("outcome",))
    failures = _from(EXPORT_CODES, snapshot.export_failures)
    yield _counter("export_failures", "Failed exports by status", _by(failures), ("code",))
    yield _gauge("watchers", "Clients that watch", [((), snapshot.watchers)])
    dropped = _from(("slow", "stalled", "too_many"), snapshot.watchers_dropped)
    yield _counter("watchers_dropped", "Watchers cut off", _by(dropped), ("reason",))
    yield _gauge("health_watchers", "Clients that watch health", [((), snapshot.health_watchers)])
    times = {process: used.cpu_s for process, used in snapshot.usage.items()}
    yield _counter("process_cpu_seconds", "Processor time", _by(times), ("process",))
    memory = {process: used.resident_bytes for process, used in snapshot.usage.items()}
    yield _gauge("process_resident_memory_bytes", "Memory in use", _by(memory), ("process",))
    scrapes = _from(SCRAPE_OUTCOMES, snapshot.scrapes)
    yield _counter("scrapes", "Connections to this port by how they ended", _by(scrapes), ("outcome",))


def _of_arc(status: Status) -> Iterator[Metric]:
    yield _gauge("mode", "The most that policies may do", [((status.mode,), 1)], ("mode",))
    yield _gauge("realtime", "Whether the arc has real-time priority", [((), status.realtime)])
    yield _gauge("arming_seconds", "From start to armed", [((), (status.armed_ns - status.started_ns) / NS)])
    yield _gauge("uptime_seconds", "Since the arc started", [((), (status.now_ns - status.started_ns) / NS)])
    yield _gauge("policies", "Policies in force", [((), status.rules)])
    yield _gauge("policy_error", "Whether the last reload was refused", [((), bool(status.policy_error))])
    yield _counter("plane_restarts", "Starts of the plane after the first", [((), status.plane_restarts)])
    yield _counter("link_dropped", "Frames to the plane dropped", [((), status.link_dropped)])
    yield _counter("journal_records", "Records written", [((), status.journal_records)])


def _of_reflexes(status: Status) -> Iterator[Metric]:
    yield _counter("events", "Kernel events delivered", _by(status.events), ("signal",))
    yield _gauge("streams", "Streams followed", [((), status.streams)])
    findings = _from(status.budgets, status.findings)
    yield _counter("findings", "Tests that fired", _by(findings), ("policy",))
    looked = {name: budget.streams for name, budget in status.budgets.items()}
    yield _gauge("policy_streams", "Streams a policy looks at", _by(looked), ("policy",))
    tests = {name: budget.tests_per_s for name, budget in status.budgets.items() if budget.tests_per_alarm}
    text = "Decisions a second, over all streams, of a policy with a budget of false alarms"
    yield _gauge("policy_tests_per_second", text, _by(tests), ("policy",))
    steps = _from((f"{act}/{outcome}" for act in ACTS for outcome in ("done", "failed")), status.reflexes)
    reflexes = [(_act_and_outcome(key), count) for key, count in steps.items()]
    yield _counter("reflexes", "Steps of reflexes", reflexes, ("act", "outcome"))
    refusals = _from(get_args(Guard), status.refusals)
    yield _counter("refusals", "Steps a guard forbade", _by(refusals), ("guard",))
    denied = _by(status.denials)
    yield _counter("denials", "Times the kernel denied something to cgroups", denied, ("what",))
    held = _from(ACTS, status.held)
    yield _gauge("acts_in_force", "Acts not yet undone", _by(held), ("act",))
    opened = {*status.breaker_open}
    disarmed = {policy: bool(opened & {policy, ""}) for policy in {*findings} | opened if policy}
    yield _gauge("breaker_open", "Whether the breaker disarmed a policy", _by(disarmed), ("policy",))
    if status.latency is not None:
        yield _latency(status.latency)


def _of_sensors(sensors: Iterable[SensorStatus]) -> Iterator[Metric]:
    sensors = tuple(sensors)
    label = ("sensor",)
    attached = [((sensor.name,), sensor.attached) for sensor in sensors]
    yield _gauge("sensor_attached", "Whether a sensor feels", attached, label)
    seen = [((sensor.name,), sensor.seen) for sensor in sensors]
    yield _counter("events_seen", "Kernel events that passed a sensor's own filters", seen, label)
    emitted = [((sensor.name,), sensor.emitted) for sensor in sensors]
    yield _counter("events_emitted", "Records a sensor put into the ring", emitted, label)
    lost = [((sensor.name, reason), count) for sensor in sensors for reason, count in sensor.lost.items()]
    yield _counter("events_lost", "Events felt that did not arrive", lost, ("sensor", "reason"))
    seconds = [((sensor.name,), sensor.run_ns / NS) for sensor in sensors]
    yield _counter("bpf_run_seconds", "Time spent in BPF programs", seconds, label)
    runs = [((sensor.name,), sensor.runs) for sensor in sensors]
    yield _counter("bpf_runs", "Runs of BPF programs", runs, label)


def _latency(latency: Latency) -> Metric:
    family = HistogramMetricFamily(
        PREFIX + "reflex_latency_seconds", "From the kernel event to the return of the act"
    )
    bounds = [*(str(bound / NS) for bound in latency.bounds_ns), "+Inf"]
    exemplars = latency.exemplars or (None,) * len(bounds)
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for bound, total, exemplar in zip(bounds, accumulate(latency.counts), exemplars, strict=True):
        if exemplar is None:
            buckets.append((bound, total))
        else:
            trace = {"trace_id": exemplar.trace_id.hex()}
            told = Exemplar(trace, exemplar.value_ns / NS, exemplar.wall_ns / NS)
            buckets.append((bound, total, told))
    family.add_metric([], buckets, latency.sum_ns / NS)
    return family


def _by(counts: Mapping[str, float]) -> Samples:
    return [((key,), count) for key, count in counts.items()]


def _from(known: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, with 0 for what is known and has not happened."""
    return {**dict.fromkeys(known, 0), **counts}


def _act_and_outcome(key: str) -> Labels:
    act, _, outcome = key.partition("/")
    return act, outcome


def _counter(name: str, text: str, samples: Samples, labels: Labels = ()) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, text: str, samples: Samples, labels: Labels = ()) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
