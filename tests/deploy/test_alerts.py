"""The alerts: by promtool on made-up series, and in a real Prometheus on a plane that has every trouble."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import yaml

from controlplane.link.frames import BudgetStatus, Changed, Latency, SensorStatus, Status
from tests.plane.prometheus import Api, prometheus
from tests.plane.running import Running, node, plane
from tests.plane.sink import Sink, refuse
from tests.plane.writer import notice
from tests.unit.plane.responder import STATUS

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
SERIES = Path(__file__).parent / "rules.yaml"
NEEDS_TIME = {"ReflexarcExportBacklogGrowing"}
"""Tested by promtool alone: a megabyte more of journal in every minute of many."""

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus is not installed")


def alerts() -> dict[str, str]:
    """Expression by name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_comes_when_it_should_and_not_before() -> None:
    promtool("test", "rules", SERIES)


def test_each_alert_is_tested_both_ways() -> None:
    tests: list[dict[str, Any]] = [
        test for series in yaml.safe_load(SERIES.read_text())["tests"] for test in series["alert_rule_test"]
    ]
    assert {test["alertname"] for test in tests if "exp_alerts" in test} == alerts().keys()
    assert {test["alertname"] for test in tests if "exp_alerts" not in test} == alerts().keys()


def test_each_alert_is_explained_to_operators() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert [name for name in alerts() if f"`{name}`" not in page] == []


LOST = SensorStatus(name="process", attached=True, signals=("process.fork",), lost={"ring": 2})
QUIET = msgspec.structs.replace(
    STATUS,
    sensors=(LOST,),
    budgets={"storm": BudgetStatus(1)},
    now_ns=60_000_000_000,
    latency=Latency(bounds_ns=(100_000, 1_000_000), counts=(0, 0, 0)),
)
WRONG = msgspec.structs.replace(
    QUIET,
    started_ns=50_000_000_000,
    armed_ns=50_000_000_000,
    realtime=False,
    sensors=(msgspec.structs.replace(LOST, lost={"ring": 9}),),
    breaker_open=("storm",),
    reflexes={"freeze/failed": 1},
    policy_error="no",
    plane_restarts=1,
    journal_dropped=3,
    latency=Latency(bounds_ns=(100_000, 1_000_000), counts=(0, 5, 0), sum_ns=2_500_000),
)


def test_each_alert_finds_its_trouble_in_a_real_prometheus(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sink() as sink:
            with node() as where:
                config = where.config(f"http://127.0.0.1:{sink.port}")
                async with (
                    asyncio.timeout(50),
                    plane(where, config) as running,
                    prometheus(tmp_path, running.ports["metrics"]) as api,
                ):
                    await is_quiet(api, running)
                    sink.always = refuse(grpc.StatusCode.INVALID_ARGUMENT)
                    where.write(notice(1))
                    await go_wrong(running, WRONG)
                    await finds(api, alerts().keys() - NEEDS_TIME - {"ReflexarcArcDoesNotAnswer"} - HEALTH)
                    await sink.stop()
                    (where.state / "journal").rename(where.state / "gone")
                    (where.state / "journal").write_text("in the way")
                    where.write(*(notice(number, "x" * 1000) for number in range(2, 200)))
                    await finds(api, HEALTH)
                    running.responder.silent = True
                    await finds(api, {"ReflexarcArcDoesNotAnswer"})

    asyncio.run(main())


HEALTH = {"ReflexarcExportFails", "ReflexarcJournalNotKept"}


async def is_quiet(api: Api, running: Running) -> None:
    running.responder.status = QUIET
    running.responder.send(Changed({"arc": (True, ""), "sensor.process": (True, "")}))
    await api.await_query("count_over_time(reflexarc_uptime_seconds[1m]) > 2")
    found = {name for name, expression in alerts().items() if await api.query(expression)}
    assert found == set()


async def go_wrong(running: Running, status: Status) -> None:
    running.responder.status = status
    running.responder.send(Changed({"arc": (True, ""), "sensor.process": (False, "no BTF")}))


async def finds(api: Api, names: set[str]) -> None:
    for name in names:
        try:
            await api.await_query(alerts()[name], 30)
        except TimeoutError:
            pytest.fail(f"{name} finds nothing")
