"""The unit under a real systemd: started, reloaded, stopped, killed, stuck, told of."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from controlplane.arc.kernel.sensors import Sensors
from controlplane.client import Client
from tests.deploy.test_systemd import EXPOSURE
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in
from tests.systemd.unit import POLICIES, RUNTIME, STATE, UNIT, said, shown, systemctl, told
from tests.upgrading import FROZEN

STOP_SECONDS = 5


def freeze(cgroup: TestCgroup) -> None:
    """By a policy that is in force once the reload has returned."""
    (POLICIES / "frozen.yaml").write_text(FROZEN.format(path=cgroup.path))
    systemctl("reload")
    fork_in(cgroup.run(*FORKER), 20)
    await_until(lambda: cgroup.frozen, 20)


def await_active() -> None:
    """A start that is asked for while systemd waits to restart it ends with that restart."""
    systemctl("start")
    assert shown("ActiveState") == "active"


def test_it_is_started_once_armed_and_feels_all_that_it_does_without_hardening(client: Client) -> None:
    assert shown("ActiveState") == "active"
    assert shown("StatusText").startswith("armed, ")
    bare = Sensors(loader="core")
    expected = {sensor.name for sensor in bare.all if not sensor.reason}
    bare.close()
    lacking = {sensor.name: sensor.reason for sensor in client.sensors() if not sensor.attached}
    assert not lacking.keys() & expected, lacking
    assert client.status().realtime, said()


def test_policies_are_in_force_when_reload_returns_and_stop_takes_back_in_time(
    client: Client, cgroup: TestCgroup
) -> None:
    freeze(cgroup)
    assert "frozen" in [status.policy.name for status in client.policies()]
    begun = time.monotonic()
    systemctl("stop")
    assert time.monotonic() - begun < STOP_SECONDS
    assert not cgroup.frozen
    assert (shown("ActiveState"), shown("Result")) == ("inactive", "success")
    assert (RUNTIME / "journal").is_dir()


def test_a_bad_policy_is_told_in_the_status(client: Client) -> None:
    (POLICIES / "bad.yaml").write_text("kind: Nonsense\n")
    systemctl("reload")
    assert "bad.yaml" in shown("StatusText")
    assert client.status().policy_error


def test_a_reflex_is_found_by_fields_of_the_journal(client: Client, cgroup: TestCgroup) -> None:
    freeze(cgroup)
    reflex = next(reflex for reflex in client.reflexes() if reflex.finding.policy == "frozen")
    found = {"SYSLOG_IDENTIFIER": "reflexarc", "TRACE_ID": reflex.trace_id}
    await_until(lambda: "reflexarc.reflex.act" in [entry["EVENT_NAME"] for entry in told(found)], 20)
    finding = next(entry for entry in told(found) if entry["EVENT_NAME"] == "reflexarc.finding")
    assert "frozen" in finding["MESSAGE"]
    assert finding["_SYSTEMD_UNIT"] == UNIT
    assert int(finding["_UID"]) == STATE.stat().st_uid != 0


def test_killed_it_comes_back_and_takes_back(client: Client, cgroup: TestCgroup) -> None:
    freeze(cgroup)
    before = int(shown("NRestarts"))
    os.kill(int(shown("MainPID")), signal.SIGKILL)
    await_until(lambda: not cgroup.frozen, 30)
    await_active()
    assert int(shown("NRestarts")) == before + 1
    client.wait()
    assert client.status().realtime


def test_stuck_it_is_killed_by_the_watchdog_and_comes_back(client: Client, cgroup: TestCgroup) -> None:
    freeze(cgroup)
    before = int(shown("NRestarts"))
    os.kill(int(shown("MainPID")), signal.SIGSTOP)
    await_until(lambda: not cgroup.frozen, 60)
    await_active()
    assert int(shown("NRestarts")) == before + 1
    assert "Watchdog timeout" in said()
    client.wait()
    assert client.status().realtime


def test_running_it_is_exposed_no_more_than_we_say(
    client: Client, record_property: Callable[[str, object], None]
) -> None:
    del client
    done = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", UNIT], check=False, capture_output=True, text=True
    )
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    record_property("exposure", found[1])
    assert float(found[1]) <= EXPOSURE
    assert Path(f"/proc/{shown('MainPID')}/status").read_text().count("Seccomp:\t2") == 1
