"""What is left of root to the arc and to each of its children, and that it suffices."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from controlplane.arc.privileges import FOR_CHILDREN, KEPT
from controlplane.client import Client, ClientError
from controlplane.errand.__main__ import NEEDED
from controlplane.errand.hook import NEEDED as TO_RUN
from controlplane.link.capabilities import Capability
from controlplane.link.errands import ENCODER, About, Gather, Order, Reclaim, Run
from controlplane.link.rules import NS
from controlplane.wire import management_pb2 as pb
from tests.kernel.conftest import TestCgroup, await_until
from tests.kernel.test_daemon import Daemon, await_event, daemon, step

__all__ = ["daemon"]

SECURITY = Path(__file__).parents[2] / "docs/security.md"
ABOUT = About(trace_id="", span_id="", policy="", step=0, cgroup=1, path="/", pid=0, start_ns=0, comm="")
REPORT = """
import json, sys
def told(*_, **__):
    with open("/proc/self/status") as file:
        print(json.dumps(dict(line.split(":", 1) for line in file)), flush=True)
    sys.exit()
"""


def bits(names: Iterable[Capability]) -> int:
    return sum(1 << each for each in names)


def sets_of(pid: int) -> dict[str, int]:
    """By name in /proc/<pid>/status."""
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(value, 16) for name, _, value in rows if name.startswith("Cap")}


def ours() -> int:
    """What can be had here at all."""
    return sets_of(os.getpid())["CapBnd"]


def test_an_armed_arc_keeps_what_it_uses(daemon: Daemon) -> None:
    daemon.start().close()
    found = sets_of(daemon.pid)
    assert found["CapPrm"] == found["CapEff"] == bits(KEPT.keys()) & ours()
    assert found["CapBnd"] == bits(KEPT.keys() | FOR_CHILDREN.keys()) & ours()
    assert found["CapInh"] == found["CapAmb"] == 0


@pytest.mark.parametrize("act", ["freeze", "quarantine", "kill"])
def test_it_still_acts(daemon: Daemon, cgroup: TestCgroup, act: str) -> None:
    """With all that has to be opened, entered and sent for it after the rest was given up."""
    cgroup.run("unshare", "--net", "sleep", "60")
    request = pb.TriggerRequest(act=act, cgroup=cgroup.path, for_ns=0 if act == "kill" else NS)
    with daemon.start() as client:
        events = client.watch()
        await_until(lambda: _taken(client, request), 20)
        outcome = await_event(events, step(pb.ReflexStep.KIND_OUTCOME)).step
    assert outcome.ok, outcome.error


def _taken(client: Client, request: pb.TriggerRequest) -> bool:
    """A quarantine is not, before a child has encoded its messages; and not too many calls a second are."""
    try:
        client.trigger(request)
    except ClientError as error:
        if "absent" in str(error) or "try again" in str(error):
            return False
        raise
    return True


def child(code: str, *, fds: dict[int, int]) -> dict[str, str]:
    """The sets of a child of ours, where it begins its work."""
    actions = "".join(f"os.dup2({there}, {here});" for here, there in fds.items())
    command = [sys.executable, "-c", f"import os;{actions}\n{REPORT}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=list(fds.values()))
    assert done.stdout, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[0])
    return found


def memory(content: bytes) -> int:
    fd = os.memfd_create("given")
    os.write(fd, content)
    return fd


RUN_AS = Run(command=("/bin/true",), user="nobody", purpose="act", about=ABOUT)
COMPILE = """
import controlplane.policy.compile as it
it.compile_folder = told
it.main(["--out-fd", "4", "/nowhere"])
"""
ENCODE = """
import controlplane.policy.messages as it
it.STEPS = type("", (), {"decode": told})
it.main(["--in-fd", "3", "--out-fd", "4"])
"""
RUN_ERRAND = """
import controlplane.errand.hook as hook, controlplane.errand.__main__ as it
it.reclaim = it.gather = hook.take_orphans = told
it.main()
"""


def order(errand: Reclaim | Gather | Run) -> bytes:
    return ENCODER.encode(Order(errand=errand, timeout_ns=10**9))


CHILDREN: dict[str, tuple[str, frozenset[Capability], bytes]] = {
    "the policy compiler": (COMPILE, frozenset({Capability.DAC_READ_SEARCH}), b""),
    "the encoder of messages": (ENCODE, frozenset(), b""),
    "reclaim": (RUN_ERRAND, NEEDED[Reclaim], order(Reclaim(number=1, way=""))),
    "evidence": (RUN_ERRAND, NEEDED[Gather], order(Gather(state_dir="/nowhere", name="x", about=ABOUT))),
    "who runs a program": (RUN_ERRAND, TO_RUN, order(RUN_AS)),
    "who runs one as root": (
        RUN_ERRAND,
        frozenset(Capability),
        order(msgspec.structs.replace(RUN_AS, user="root")),
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
@pytest.mark.parametrize("name", CHILDREN)
def test_each_child_has_what_it_needs_and_no_way_to_more(name: str) -> None:
    code, wanted, asked = CHILDREN[name]
    given, taken = memory(asked), memory(b"")
    try:
        found = child(code, fds={3: given, 4: taken})
    finally:
        os.close(given)
        os.close(taken)
    have = {key: int(value, 16) for key, value in found.items() if key.startswith("Cap")}
    assert have["CapPrm"] == have["CapEff"] == have["CapBnd"] == bits(wanted) & ours()
    assert have["CapInh"] == have["CapAmb"] == 0
    assert found["NoNewPrivs"].strip() == "1"


def test_the_page_says_what_is_kept_and_why() -> None:
    rows = re.findall(r"^\| `CAP_(\w+)` \| (.+) \| (arc|children) \|$", SECURITY.read_text(), re.MULTILINE)
    assert rows == [
        *((each.name, why, "arc") for each, why in KEPT.items()),
        *((each.name, why, "children") for each, why in FOR_CHILDREN.items()),
    ]
