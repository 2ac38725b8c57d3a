"""Names are unique and shaped as OpenTelemetry asks."""

import re

from controlplane.plane.telemetry import events

NAMES = [
    value
    for name, value in vars(events).items()
    if name.isupper() and not name.startswith("SC") and name != "PREFIX"
]


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES) > 40


def test_names_are_lower_case_and_dotted() -> None:
    assert all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name) for name in NAMES)
