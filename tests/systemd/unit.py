"""The unit as its administrator sees it: systemctl, systemd's journal, the folders that are configured."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

UNIT: Final = "reflexarc.service"
INSTALL: Final = Path(__file__).resolve().parents[2] / "deploy/systemd/install.sh"
CONFIGURATION: Final = Path("/etc/reflexarc/reflexarc.yaml")
POLICIES: Final = Path("/etc/reflexarc/policies.d")
RUNTIME: Final = Path("/run/reflexarc")
STATE: Final = Path("/var/lib/reflexarc")
DROP_IN: Final = Path(f"/etc/systemd/system/{UNIT}.d/slow.conf")
SLOWLY: Final = "[Service]\nTimeoutStartSec=5min\nWatchdogSec=20s\n"
"""Emulated, a start takes long; and the minute of the watchdog is a long time to wait."""


def systemctl(*words: str) -> str:
    """What it prints; a failure shows what the unit has said."""
    done = subprocess.run(["systemctl", *words, UNIT], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\n{said()}"
    return done.stdout.strip()


def shown(name: str) -> str:
    """One property."""
    return systemctl("show", "--value", "-p", name)


def said() -> str:
    """The end of what the unit, and systemd of it, have said."""
    command = ["journalctl", "-b", "-u", UNIT, "-n", "60", "--no-pager"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def told(matches: Mapping[str, str]) -> list[dict[str, Any]]:
    """Entries of systemd's journal whose fields are such."""
    fields = [f"{name}={value}" for name, value in matches.items()]
    command = ["journalctl", "-b", "-o", "json", "--no-pager", *fields]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def install(wheel: Path) -> None:
    """As docs/operations.md says; what runs is restarted."""
    done = subprocess.run([INSTALL, wheel], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def configure(text: str) -> None:
    """The daemon's configuration, and time enough for an emulated machine."""
    CONFIGURATION.write_text(text)
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text(SLOWLY)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
