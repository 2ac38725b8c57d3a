"""What every run shares: where programs are found, and root for the tests that need the kernel."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.patience import set_patience

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "tests" / "kernel"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of ours."""
    parser.addoption(
        "--patience", type=float, default=1, help="factor on all limits of time, for a slow machine"
    )
    parser.addoption(
        "--kubernetes", action="store_true", help="tests/kubernetes, too, on a cluster of their own"
    )
    parser.addoption("--fuzz", type=float, default=0, help="seconds for each file in tests/fuzz")


def pytest_configure(config: pytest.Config) -> None:
    """Find what `make test` finds: bpftool in sbin, Prometheus where `make tools` unpacked it."""
    set_patience(config.getoption("--patience"))
    # Processors are shared: how long an example takes says nothing.
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")
    extra = [str(ROOT / ".venv/bin"), str(ROOT / ".tools/usr/bin"), "/usr/sbin", "/sbin"]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *extra])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root, tests on the kernel are skipped; on CI that would hide them, so there it is an error."""
    if os.geteuid() == 0:
        return
    on_kernel = [item for item in items if KERNEL in item.path.parents]
    if on_kernel and os.environ.get("CI") == "true":
        raise pytest.UsageError("CI must run as root: tests/kernel load BPF programs")
    for item in on_kernel:
        item.add_marker(pytest.mark.skip(reason="needs root: loads BPF programs and makes cgroups"))
