"""Acts by hand and programs of policies, with the daemon and the command line as people run them."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.client import InvalidError
from controlplane.wire import management_pb2 as pb
from tests.kernel.conftest import FORKER, TestCgroup, await_until, fork_in
from tests.kernel.test_daemon import REFLEXARC, Daemon, await_event, one_of, policy, step

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    yield from one_of(Daemon)


def reflexarc(daemon: Daemon, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    socket = str(daemon.folder / "run/management.sock")
    return subprocess.run(
        [REFLEXARC, *words, "--socket", socket],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_freeze_evidence_and_kill_by_hand(daemon: Daemon, cgroup: TestCgroup) -> None:
    """The daemon only observes: its mode is one of policies."""
    client = daemon.start()
    with client:
        client.set_mode(pb.MODE_OBSERVE)
        process = cgroup.run(*FORKER)
        await_until(lambda: bool(cgroup.read("cgroup.procs")), 10)
        dry = reflexarc(daemon, "act", "freeze", cgroup.path, "--dry-run")
        assert (dry.returncode, "cgroup.freeze 0 -> 1" in dry.stdout, cgroup.frozen) == (0, True, False)
        parent = f"00-{TRACE}-{SPAN}-01"
        frozen = reflexarc(daemon, "act", "freeze", cgroup.path, "--for", "1h", TRACEPARENT=parent)
        assert frozen.returncode == 0, frozen.stderr
        assert frozen.stdout.startswith(f"trace {TRACE}\nintent    freeze {cgroup.path}")
        assert "asked for by unix:admin" in frozen.stdout
        await_until(lambda: cgroup.frozen, 10)
        taken = json.loads(reflexarc(daemon, "act", "evidence", cgroup.path, "--json").stdout)
        file = Path(taken["steps"][-1]["detail"])
        assert f"==== process {process.pid}" in file.read_text()
        assert str(file) in reflexarc(daemon, "history", taken["trace_id"]).stdout
        explained = reflexarc(daemon, "explain", taken["trace_id"]).stdout
        assert str(file) in "".join(explained.split())
        assert "somebody asked for it" in explained
        assert client.undo(TRACE).undone == 1
        await_until(lambda: not cgroup.frozen, 10)
        assert reflexarc(daemon, "act", "kill", str(process.pid), "grace=10s").returncode == 0
        assert process.wait(10) < 0


def test_who_is_protected_is_refused(daemon: Daemon) -> None:
    daemon.start().close()
    said = reflexarc(daemon, "act", "kill", str(daemon.pid))
    assert (said.returncode, "guard protected" in said.stderr) == (4, True)


def test_a_policy_file_has_a_program_run_and_the_api_has_not(daemon: Daemon, cgroup: TestCgroup) -> None:
    ladder = '{act: hook, run: ["/bin/sh", "-c", "cat >&2"], timeout: 10s}'
    (daemon.policies / "tell.yaml").write_text(policy(cgroup, ladder))
    with daemon.start() as client:
        events = client.watch()
        fork_in(cgroup.run(*FORKER), 5)
        outcome = await_event(events, step(pb.ReflexStep.KIND_OUTCOME)).step
        assert (outcome.act, outcome.ok, '"purpose":"act"' in outcome.detail) == ("hook", True, True)
        with pytest.raises(InvalidError) as caught:
            client.apply(policy(cgroup, ladder, "by-api").encode(), "by-api.yaml")
        assert "names a program" in caught.value.fields["yaml"]
