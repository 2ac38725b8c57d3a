"""What runs in the guest: looks at the kernel, attaches every sensor, runs tests, tells each result at once.

`python -m tests.vm.guest PORT LOADER TESTS`: the serial port for tests/vm/results.py, which loader, and what
pytest is to run, separated by commas.
"""

import os
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
from msgspec import structs

from controlplane.arc.kernel.sensors import Sensors
from tests.vm.results import End, Host, Ran, SensorFound, Told

DEMO: Final = "tests/demo/fork_storm.py"
STORM: Final = "from tests.demo.fork_storm import main; main(above=20, seconds=240)"
"""Emulated, a process forks some hundred times a second."""
ELSEWHERE: Final = (
    *("act", "by_hand", "daemon", "descriptors", "disk", "encoding", "evidence_file", "explain"),
    *("grace", "hooks", "hostile_plane", "hot_path", "in_kernel", "learned", "learned_values"),
    *("loader", "log_forms", "losses", "management", "observed", "offline", "privileges"),
    *("quarantine", "quiet", "races", "record", "recover", "self_budget", "shape", "storms"),
    *("supervised", "two_tiers", "user_sensors"),
)
OPTIONS: Final = (
    *("-q", "--color=no", "-p", "no:cacheprovider", "--patience", "6", "--timeout", "300"),
    # About processes, the journal, statistics, the interpreter and compilers, which no kernel changes.
    *(f"--ignore=tests/kernel/test_{name}.py" for name in ELSEWHERE),
)
LOADERS: Final = {
    "core": "not bcc and not perf and not libbpf and not clang",
    "bcc": "bcc and not clang",
    "headers": "bcc and not clang",
}
"""What pytest -k selects. Readers of the ring are the same everywhere."""


class Port:
    """The serial port to the host; each record is out when `tell` returns."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_NOCTTY)
        tty.setraw(self._fd)

    def tell(self, told: Told) -> None:
        """One line."""
        line = memoryview(msgspec.json.encode(told) + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]
        termios.tcdrain(self._fd)


class Reporter:
    """A plugin of pytest: every test is told when it is over, but failures, which are kept."""

    def __init__(self, port: Port, before: Mapping[str, Ran]) -> None:
        """`before`: what failed in an earlier run, by name."""
        self._port = port
        self._before = before
        self.failed: dict[str, Ran] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test counts by its call, or by a set-up or tear-down that did not pass."""
        if report.when != "call" and report.outcome == "passed":
            return
        ran = Ran(report.nodeid, report.outcome, report.duration, _why(report))
        if ran.outcome == "failed":
            self.failed[ran.name] = ran
            return
        if first := self._before.get(ran.name):
            ran = structs.replace(ran, text=f"the second time. {first.text}")
        self._port.tell(ran)


def run_tests(port: Port, options: Sequence[str], *wanted: str) -> None:
    """Failures once more, when all else is over: how time passes in an emulated machine is not even."""
    first = Reporter(port, {})
    pytest.main([*options, *wanted], plugins=[first])
    last = Reporter(port, first.failed)
    if first.failed:
        pytest.main([*options, *first.failed], plugins=[last])
    for ran in last.failed.values():
        port.tell(ran)


def _why(report: pytest.TestReport) -> str:
    """Of a skip its reason, of a failure the end of what pytest says, else what was measured."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    if report.longrepr:
        return report.longreprtext[-2000:]
    return ", ".join(f"{name} {value}" for name, value in report.user_properties)


def host() -> Host:
    """What the kernel offers of what the sensors can make use of."""
    offers = {
        "BTF": Path("/sys/kernel/btf/vmlinux").exists(),
        "BPF LSM": "bpf" in Path("/sys/kernel/security/lsm").read_text().split(","),
        "PSI": Path("/proc/pressure/memory").exists(),
    }
    controllers = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split()
    return Host(os.uname().release, tuple(controllers), offers)


def tell_sensors(port: Port, sensors: Sensors) -> None:
    """What became of each, before they are closed."""
    for sensor in sensors.all:
        port.tell(SensorFound(sensor.name, sensor.reason, sensor.signals))
    sensors.close()


def storm() -> Ran:
    """The whole daemon on a fork storm: felt, frozen, killed, told. Its timeline is on the console."""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STORM], check=False)
    seconds = time.monotonic() - begun
    if done.returncode == 0:
        return Ran(DEMO, "passed", seconds)
    return Ran(DEMO, "failed", seconds, f"ended with {done.returncode}; the console has what it said")


def main() -> None:
    """All of it; a crash of this program shows as a missing end."""
    path, loader, tests = sys.argv[1:]
    port = Port(path)
    port.tell(host())
    tell_sensors(port, Sensors(loader="core" if loader == "core" else "bcc"))
    port.tell(storm())
    run_tests(port, OPTIONS, "-k", LOADERS[loader], *tests.split(","))
    port.tell(End(time.clock_gettime(time.CLOCK_BOOTTIME)))


if __name__ == "__main__":
    main()
