"""What is left of root after `drop`: each case in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from controlplane.arc.children import ends_within
from controlplane.link.account import account
from tests.patience import patient

REPORT = """
import json, os, sys
from controlplane.link.account import account
from controlplane.link.credentials import remaining_capabilities
from controlplane.plane.privileges import drop
before = set(sys.modules)
drop(account(""))
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "ids": os.getresuid() + os.getresgid(), "groups": os.getgroups(), "left": remaining_capabilities(),
    "no_new_privs": status["NoNewPrivs"].strip(), "umask": status["Umask"].strip(), "modules": sorted(before),
    "core_owner": os.stat("/proc/self/environ").st_uid,
}))
try:
    os.setuid(0)
except PermissionError:
    sys.exit(0)
sys.exit("came back as root")
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to drop")


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@needs_root
def test_nothing_is_left_of_root() -> None:
    done = run(REPORT)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = account("")
    assert report["ids"] == [expected.uid] * 3 + [expected.gid] * 3
    assert report["groups"] == []
    assert report["left"] == {}
    assert report["no_new_privs"] == "1"
    assert report["umask"] == "0077"
    assert report["core_owner"] == 0, "not dumpable: what it has in /proc belongs to root"


@needs_root
def test_it_runs_before_anything_large_is_imported() -> None:
    modules = set(json.loads(run(REPORT).stdout)["modules"])
    assert not modules & {"grpc", "asyncio", "msgspec", "opentelemetry", "prometheus_client", "google"}


@needs_root
def test_it_ends_with_its_parent() -> None:
    child = (
        "import signal; from controlplane.link.account import account\n"
        "from controlplane.plane.privileges import drop\n"
        "drop(account('')); print('up', flush=True); signal.pause()"
    )
    parent = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pidfd = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    with os.fdopen(pidfd):
        assert ends_within(pidfd, patient(10)), "the plane outlived its arc"
