"""What a guest tells, one JSON object a line, and what it comes to. Both sides import this; no I/O here."""

from collections.abc import Iterable
from typing import Literal

import msgspec

Outcome = Literal["passed", "failed", "skipped"]


class Host(msgspec.Struct, frozen=True, tag="host"):
    """The kernel, and what it offers of what the project asks for."""

    release: str
    controllers: tuple[str, ...]
    offers: dict[str, bool]


class SensorFound(msgspec.Struct, frozen=True, tag="sensor"):
    """One sensor: `reason` is empty while it feels."""

    name: str
    reason: str
    signals: tuple[str, ...]
    notes: str = ""


class Ran(msgspec.Struct, frozen=True, tag="test"):
    """One test, or one smoke run of the daemon. `text`: why it failed or was skipped, or what it measured."""

    name: str
    outcome: Outcome
    seconds: float
    text: str = ""


class End(msgspec.Struct, frozen=True, tag="end"):
    """The guest has come to its own end; `seconds` since its kernel started."""

    seconds: float


Told = Host | SensorFound | Ran | End


class Results(msgspec.Struct, frozen=True):
    """Everything of one run. `error`: why it has no regular end, else empty."""

    kernel: str
    host: Host | None
    sensors: tuple[SensorFound, ...]
    tests: tuple[Ran, ...]
    seconds: float
    error: str = ""

    def count(self, outcome: Outcome) -> int:
        """Tests that ended so."""
        return sum(test.outcome == outcome for test in self.tests)

    @property
    def good(self) -> bool:
        """It came to its end, tested something, and nothing failed."""
        return not self.error and self.count("passed") > 0 and self.count("failed") == 0


def results_of(kernel: str, lines: Iterable[bytes], seconds: float, error: str) -> Results:
    """From what came over the serial port. `error` says how the machine failed, if it did."""
    told = [msgspec.json.decode(line, type=Told) for line in lines]
    if not error and not any(isinstance(each, End) for each in told):
        error = "the guest ended early"
    hosts = [each for each in told if isinstance(each, Host)]
    return Results(
        kernel=kernel,
        host=hosts[0] if hosts else None,
        sensors=tuple(each for each in told if isinstance(each, SensorFound)),
        tests=tuple(each for each in told if isinstance(each, Ran)),
        seconds=seconds,
        error=error,
    )
