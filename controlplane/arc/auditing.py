"""What the plane says of calls and of itself, into the journal: bounded, as it must not push reflexes out.

Believes nothing: lengths were checked on decoding, and a record says only that the plane says so.
"""

import time
from collections.abc import Callable
from typing import Final, assert_never

from controlplane.link.frames import Audited, Diagnosed, Done, Noticed, Refused, Result
from controlplane.link.records import Audit, Diagnostic, Notice, Record

BURST: Final = 256
PER_S: Final = 64
"""Records of calls, on average; each has at most some 3 KB."""
LINES: Final = 64
LINES_PER_S: Final = 4
"""Lines of the plane's log, at most some 5 KB each."""
_NS: Final = 1_000_000_000


class Allowance:
    """So many records a second on average, and so many at once."""

    def __init__(self, dropped: str, what: str, burst: int, per_s: int) -> None:
        """`dropped` is the name of the notice of how many were not taken."""
        self.dropped = dropped
        self.what = what
        self.missed = 0
        self._burst = burst
        self._per_s = per_s
        self._credit = float(burst)
        self._counted_ns = 0

    def admits(self, now_ns: int) -> bool:
        """Whether there is room for one more; if not, it is counted."""
        earned = (now_ns - self._counted_ns) * self._per_s / _NS
        self._credit = min(self._burst, self._credit + earned)
        self._counted_ns = now_ns
        if self._credit < 1:
            self.missed += 1
            return False
        self._credit -= 1
        return True


class Auditing:
    """Takes so many records a second."""

    def __init__(self, append: Callable[[Record], None]) -> None:
        self._append = append
        self._calls = Allowance("audit.dropped", "records of calls", BURST, PER_S)
        self._lines = Allowance("plane.diagnostics_dropped", "lines of the plane's log", LINES, LINES_PER_S)

    def tell(self, command: Audited | Noticed | Diagnosed) -> Result:
        """Journal it, or say that there were too many."""
        now = time.monotonic_ns()
        allowance = self._lines if isinstance(command, Diagnosed) else self._calls
        if not allowance.admits(now):
            return Refused("busy", f"too many {allowance.what} to journal", "try again in a second")
        if allowance.missed:
            self._append(_dropped(allowance, now))
            allowance.missed = 0
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


def _dropped(allowance: Allowance, now: int) -> Notice:
    text = f"{allowance.missed} {allowance.what} were dropped: there were too many"
    attributes: dict[str, str | int | float | bool] = {"count": allowance.missed}
    return Notice(time_ns=now, name=allowance.dropped, severity="warn", text=text, attributes=attributes)
