"""The Python side of the contract is what bpf/events.h says: it is written again and compared."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
GENERATED = ROOT / "controlplane/arc/kernel/events.py"


def test_events_are_generated_from_the_header(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "bpf/build.py", tmp_path], check=True, stdout=subprocess.DEVNULL)
    fresh = tmp_path / "events.py"
    command: list[str | Path] = [sys.executable, ROOT / "bpf/generate.py", tmp_path / "contract.bpf.o"]
    with fresh.open("w") as out:
        subprocess.run(command, check=True, stdout=out)
    ruff = Path(sys.executable).parent / "ruff"
    config = ROOT / "pyproject.toml"
    subprocess.run([ruff, "format", "--quiet", "--config", config, fresh], check=True)
    assert fresh.read_text() == GENERATED.read_text(), "run `make events`"
