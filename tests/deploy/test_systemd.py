"""The unit and its files, by systemd's own tools. What it leaves is tried in test_supervised.py."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import files

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy/systemd"
UNIT = SYSTEMD / "reflexarc.service"
EXPOSURE = 4.8
"""Of `systemd-analyze security`: 10 is the worst, 9.6 what a unit without hardening has."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def run(*words: str | Path) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(name: str) -> list[str]:
    """Words of every line of one setting."""
    return " ".join(re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)).split()


def test_systemd_takes_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/reflexarc", shutil.which("true") or ""))
    assert run("systemd-analyze", "verify", unit) == ""


def test_it_is_exposed_no_more_than_we_say() -> None:
    told = run("systemd-analyze", "security", "--offline=yes", f"--threshold={round(EXPOSURE * 10)}", UNIT)
    found = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert found is not None
    assert float(found[1]) == EXPOSURE
    assert f"{EXPOSURE}" in (SYSTEMD.parents[1] / "docs/operations.md").read_text()


def test_its_capabilities_are_those_of_the_container() -> None:
    (daemon_set,) = (resource for _, resource in files() if resource["kind"] == "DaemonSet")
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    given = container["securityContext"]["capabilities"]["add"]
    assert settings("CapabilityBoundingSet") == [f"CAP_{name}" for name in given]


def test_the_account_and_its_folder_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "reflexarc.sysusers")
    fields = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (fields[0], fields[6]) == ("reflexarc", "/usr/sbin/nologin")
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "reflexarc.tmpfiles")
    state = (tmp_path / "var/lib/reflexarc").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (int(fields[2]), int(fields[3]), 0o700)
    assert (tmp_path / "etc/reflexarc/policies.d").is_dir()
    assert settings("ReadWritePaths") == ["/var/lib/reflexarc"]
