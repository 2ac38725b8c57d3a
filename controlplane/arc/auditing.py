"""What the plane says of calls and of itself, into the journal: bounded, as it must not push reflexes out.

Believes nothing: lengths were checked on decoding, and a record says only that the plane says so.
"""

import time
from collections.abc import Callable
from typing import Final, assert_never

from controlplane.arc.pacing import Pace
from controlplane.link.frames import Audited, Diagnosed, Done, Noticed, Refused, Result
from controlplane.link.records import Audit, Diagnostic, Notice, Record

BURST: Final = 256
PER_S: Final = 64
"""Records of calls, on average; each has at most some 3 KB."""
LINES: Final = 64
LINES_PER_S: Final = 4
"""Lines of the plane's log, at most some 5 KB each."""


class Room:
    """What there is for one sort of records."""

    def __init__(self, dropped: str, what: str, pace: Pace) -> None:
        """`dropped` is the name of the notice of how many were not taken."""
        self.dropped = dropped
        self.what = what
        self.pace = pace
        self.missed = 0


class Auditing:
    """Takes so many records a second."""

    def __init__(self, append: Callable[[Record], None]) -> None:
        self._append = append
        self._calls = Room("audit.dropped", "records of calls", Pace(BURST, PER_S))
        self._lines = Room("plane.diagnostics_dropped", "lines of the plane's log", Pace(LINES, LINES_PER_S))

    def tell(self, command: Audited | Noticed | Diagnosed) -> Result:
        """Journal it, or say that there were too many."""
        now = time.monotonic_ns()
        room = self._lines if isinstance(command, Diagnosed) else self._calls
        if not room.pace.admits(now):
            room.missed += 1
            return Refused("busy", f"too many {room.what} to journal", "try again in a second")
        if room.missed:
            self._append(_dropped(room, now))
            room.missed = 0
        self._append(_record(command, now))
        return Done()


def _record(command: Audited | Noticed | Diagnosed, now: int) -> Record:
    match command:
        case Audited(call=call):
            return Audit(time_ns=now, call=call)
        case Diagnosed(said=said):
            return Diagnostic(time_ns=now, said=said)
        case Noticed(name=name, text=text):
            refused = name == "tls.refused"
            return Notice(time_ns=now, name=name, severity="warn" if refused else "info", text=text)
        case _:
            assert_never(command)


def _dropped(room: Room, now: int) -> Notice:
    text = f"{room.missed} {room.what} were dropped: there were too many"
    attributes: dict[str, str | int | float | bool] = {"count": room.missed}
    return Notice(time_ns=now, name=room.dropped, severity="warn", text=text, attributes=attributes)
