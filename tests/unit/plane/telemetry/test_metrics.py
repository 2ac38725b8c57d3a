"""Each metric from one snapshot."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from controlplane.link.frames import BudgetStatus, Exemplar, Latency
from controlplane.plane.telemetry.metrics import PREFIX, Metrics, Snapshot, families
from controlplane.plane.telemetry.processes import Usage
from tests.unit.plane.responder import STATUS

BOUNDED = {
    *("act", "code", "component", "guard", "mode", "outcome", "policy", "process", "reason", "sensor"),
    *("signal", "stage", "version", "what", "le"),
}
TRACE = bytes(range(16))
SNAPSHOT = Snapshot(
    status=msgspec.structs.replace(
        STATUS,
        findings={"fork-storm": 4},
        refusals={"unconfirmed": 8},
        denials={"fork": 12},
        budgets={"fork-storm": BudgetStatus(8), "learned": BudgetStatus(9, 2.5, 216_000)},
        breaker_open=("kill-all",),
        journal_dropped=5,
        latency=Latency(
            bounds_ns=(10_000, 100_000),
            counts=(1, 2, 4),
            sum_ns=1_000_000,
            exemplars=(Exemplar(TRACE, 9_000, 1_700_000_000_500_000_000), None, None),
        ),
    ),
    health={"export": False, "arc": True},
    journal_missing=2,
    backlog_bytes=4096,
    log_records={"exported": 10, "rejected": 1, "dropped": 3},
    export_failures={"UNAVAILABLE": 6},
    scrapes={"refused": 2},
    usage={"arc": Usage(1.5, 4096), "plane": Usage(0.5, 8192)},
)


def rendered(snapshot: Snapshot) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Metrics(snapshot))
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ("reflexarc_up", 1),
        ('reflexarc_events_total{signal="process.fork"}', 7),
        ('reflexarc_events_lost_total{reason="ring",sensor="process"}', 2),
        ('reflexarc_sensor_attached{sensor="cpu"}', 0),
        ('reflexarc_sensor_attached{sensor="process"}', 1),
        ('reflexarc_findings_total{policy="fork-storm"}', 4),
        ('reflexarc_policy_streams{policy="fork-storm"}', 8),
        ('reflexarc_policy_streams{policy="learned"}', 9),
        ('reflexarc_policy_tests_per_second{policy="learned"}', 2.5),
        ('reflexarc_reflexes_total{act="freeze",outcome="done"}', 1),
        ('reflexarc_reflexes_total{act="kill",outcome="failed"}', 0),
        ('reflexarc_refusals_total{guard="unconfirmed"}', 8),
        ('reflexarc_denials_total{what="fork"}', 12),
        ('reflexarc_refusals_total{guard="breaker"}', 0),
        ('reflexarc_findings_total{policy="learned"}', 0),
        ('reflexarc_log_records_total{outcome="dead_letter"}', 0),
        ('reflexarc_scrapes_total{outcome="refused"}', 2),
        ('reflexarc_scrapes_total{outcome="expired"}', 0),
        ('reflexarc_process_cpu_seconds_total{process="arc"}', 1.5),
        ('reflexarc_process_resident_memory_bytes{process="plane"}', 8192),
        ('reflexarc_acts_in_force{act="freeze"}', 1),
        ('reflexarc_breaker_open{policy="fork-storm"}', 0),
        ('reflexarc_breaker_open{policy="kill-all"}', 1),
        ('reflexarc_reflex_latency_seconds_bucket{le="1e-05"}', 1),
        ('reflexarc_reflex_latency_seconds_bucket{le="0.0001"}', 3),
        ('reflexarc_reflex_latency_seconds_bucket{le="+Inf"}', 7),
        ("reflexarc_reflex_latency_seconds_sum", 1e-3),
        ("reflexarc_log_backlog_bytes", 4096),
        ('reflexarc_log_records_total{outcome="exported"}', 10),
        ('reflexarc_export_failures_total{code="UNAVAILABLE"}', 6),
        ('reflexarc_journal_dropped_total{stage="written"}', 5),
        ('reflexarc_journal_dropped_total{stage="copied"}', 2),
        ('reflexarc_journal_dropped_total{stage="exported"}', 3),
        ('reflexarc_healthy{component="export"}', 0),
        ("reflexarc_plane_restarts_total", 0),
        ('reflexarc_mode{mode="observe"}', 1),
    ],
)
def test_samples(sample: str, value: float) -> None:
    assert rendered(SNAPSHOT)[sample] == value


def test_a_policy_without_a_budget_has_no_rate_of_tests() -> None:
    assert 'reflexarc_policy_tests_per_second{policy="fork-storm"}' not in rendered(SNAPSHOT)


def test_an_open_breaker_of_the_node_disarms_every_policy() -> None:
    status = msgspec.structs.replace(STATUS, findings={"fork-storm": 4}, breaker_open=("",))
    assert rendered(Snapshot(status))['reflexarc_breaker_open{policy="fork-storm"}'] == 1


def test_exemplars_carry_the_trace() -> None:
    registry = CollectorRegistry()
    registry.register(Metrics(SNAPSHOT))
    text = generate_openmetrics(registry).decode()
    assert f'le="1e-05"}} 1.0 # {{trace_id="{TRACE.hex()}"}} 9e-06 1700000000.5' in text


def test_without_the_arc_only_what_the_plane_knows_is_told() -> None:
    samples = rendered(Snapshot())
    assert samples["reflexarc_up"] == 0
    assert "reflexarc_journal_bytes" in samples
    assert not any("sensor" in name or "stream" in name for name in samples)


def test_labels_have_few_values() -> None:
    """Nothing that comes and goes with what runs on the node: cgroups, processes, clients, traces."""
    labels = {label for family in families(SNAPSHOT) for sample in family.samples for label in sample.labels}
    assert labels == BOUNDED


def test_names_have_our_prefix_and_a_text() -> None:
    for family in families(SNAPSHOT):
        assert family.name.startswith(PREFIX)
        assert family.documentation
