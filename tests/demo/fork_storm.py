"""`make demo`: a fork storm in a cgroup of its own, felt, frozen, killed and told.

Starts a daemon of its own (own directories and ports) with one enforcing policy, whose scope is the one
cgroup made here. Nothing else on the machine can be touched.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.arc.kernel.cgroups import find_mount
from controlplane.cli.words import event_line, timeline
from controlplane.client import Client, Target
from controlplane.wire import management_pb2 as pb
from tests.killing import kill_all

REFLEXARC = Path(sys.executable).with_name("reflexarc")
WATCHDOG_SECONDS = 60

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: demo-fork-storm}}
spec:
  signal: process.fork
  scope: {{cgroups: ["{path}"]}}
  test: {{kind: threshold, above: {above}/s, over: 100ms}}
  ladder:
    - {{act: freeze, for: 5s}}
    - {{act: kill, after: 500ms}}
  mode: enforce
"""

STORM = """
import os, signal
signal.alarm(30)
open({procs!r}, "w").write("0")
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""


@contextmanager
def own_cgroup() -> Iterator[Path]:
    """A cgroup of the demo's own, gone afterwards."""
    mount = find_mount()
    if mount is None:
        sys.exit("no cgroup2 hierarchy is mounted: `reflexarc doctor` says more")
    cgroup = Path(mount) / f"reflexarc-demo-{os.getpid()}"
    cgroup.mkdir()
    try:
        yield cgroup
    finally:
        kill_all(cgroup)
        while "populated 1" in (cgroup / "cgroup.events").read_text():
            os.sched_yield()
        cgroup.rmdir()


@contextmanager
def own_daemon(folder: Path) -> Iterator[Client]:
    """A daemon that nobody else talks to, stopped afterwards."""
    command = [
        *(str(REFLEXARC), "run", "--mode", "enforce", "--policies", str(folder / "policies.d")),
        *("--runtime-dir", str(folder / "run"), "--state-dir", str(folder / "state")),
        # What it tells is shown from its journal.
        *("--metrics", "127.0.0.1:0", "--health", "127.0.0.1:0", "--log-level", "error"),
    ]
    daemon = subprocess.Popen(command)
    try:
        with Client(Target(socket=str(folder / "run/management.sock"))) as client:
            client.wait()
            yield client
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def show_reflex(client: Client, cgroup: Path) -> None:
    """Start the storm, follow what is told of it until its last undo, print the timeline."""
    events = client.watch()
    script = STORM.format(procs=str(cgroup / "cgroup.procs"))
    storm = subprocess.Popen([sys.executable, "-c", script])
    print(f"\na fork storm begins in {cgroup}, pid {storm.pid}\n", flush=True)
    trace_id = ""
    for event in events:
        print("  " + event_line(event), flush=True)
        if event.finding.policy == "demo-fork-storm":
            trace_id = event.finding.trace_id
        if event.step.kind == pb.ReflexStep.KIND_UNDO and event.step.trace_id == trace_id:
            break
    status = storm.wait(10)
    print(f"\nthe storm ended by signal {-status} ({signal.Signals(-status).name}); from the journal:\n")
    print("\n".join(timeline(client.reflex(trace_id))))


def main(above: int = 200, seconds: int = WATCHDOG_SECONDS) -> None:
    """Run it under a watchdog. `above`: forks a second that are a storm; a slow machine makes fewer."""
    if os.geteuid() != 0:
        sys.exit("the demo loads eBPF and makes a cgroup: run `sudo make demo`")
    signal.alarm(seconds)
    with tempfile.TemporaryDirectory(prefix="reflexarc-demo-") as name, own_cgroup() as cgroup:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "policies.d").mkdir()
        (folder / "policies.d" / "demo.yaml").write_text(POLICY.format(path=f"/{cgroup.name}", above=above))
        with own_daemon(folder) as client:
            show_reflex(client, cgroup)


if __name__ == "__main__":
    main()
