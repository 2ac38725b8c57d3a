"""What the dashboard asks of Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "deploy/grafana/reflexarc.json"


def load() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(FILE.read_text())
    return dashboard


def expressions() -> Iterator[tuple[str, str]]:
    """Title of the panel, and an expression of it with Grafana's variables filled in."""
    for panel in load()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in expression
            yield panel["title"], expression


def metrics(expression: str) -> set[str]:
    return set(re.findall(r"reflexarc_\w+", expression))
