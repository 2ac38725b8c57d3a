"""What a new arc has to say of itself: that it is armed, what it found, what it goes without."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from controlplane.arc.kernel.sensors import Sensors
from controlplane.link.records import Notice

Severity = Literal["debug", "info", "warn", "error"]


class News(NamedTuple):
    """One notice in the making."""

    name: str
    text: str
    severity: Literal["info", "warn"]
    attributes: dict[str, str | int]


def notice(name: str, text: str, severity: Severity, attributes: Mapping[str, str | float | bool]) -> Notice:
    """Of this moment. Attributes that are empty are left out."""
    given = {key: value for key, value in attributes.items() if value != ""}
    return Notice(time_ns=time.monotonic_ns(), name=name, severity=severity, text=text, attributes=given)


def news(sensors: Sensors, took_ms: int, mode: str, undone: int, missing: Sequence[str]) -> Iterator[News]:
    """`undone`: acts of a dead predecessor that were taken back; `missing`: of a real-time process."""
    felt = " ".join(sensor.name for sensor in sensors.all if not sensor.reason)
    text = f"in {took_ms} ms, mode {mode}, sensors {felt}"
    yield News("arc.armed", text, "info", {"took_ms": took_ms, "mode": mode})
    if undone:
        text = f"took back {undone} acts which a dead predecessor had left in force"
        yield News("arc.recovered", text, "warn", {"undone": undone})
    for sensor in sensors.all:
        if sensor.reason:
            yield News("sensor.disabled", f"{sensor.name}: {sensor.reason}", "warn", {})
    if missing:
        yield News("arc.not_realtime", "; ".join(missing), "warn", {})


def print_logs(sensors: Sensors) -> None:
    """All that compiler and verifier said of sensors that do not feel, for who has asked for it."""
    for name, log in sensors.logs():
        print(f"reflexarc: {name}: in full\n{log}", file=sys.stderr, flush=True)
