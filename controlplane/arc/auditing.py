"""What the plane says of calls, into the journal: bounded, so that a wild plane cannot push reflexes out.

Believes nothing: lengths were checked on decoding, and a record says only that the plane says so.
"""

import time
from collections.abc import Callable
from typing import Final

from controlplane.arc.pacing import Pace
from controlplane.link.frames import Audited, Done, Noticed, Refused, Result
from controlplane.link.records import Audit, Notice, Record

BURST: Final = 256
PER_S: Final = 64
"""Records, on average; each has at most some 3 KB."""


class Auditing:
    """Takes so many records a second."""

    def __init__(self, append: Callable[[Record], None]) -> None:
        self._append = append
        self._pace = Pace(BURST, PER_S)
        self._dropped = 0

    def tell(self, command: Audited | Noticed) -> Result:
        """Journal it, or say that there were too many."""
        now = time.monotonic_ns()
        if not self._pace.admits(now):
            self._dropped += 1
            return Refused("busy", "too many calls to journal", "try again in a second")
        if self._dropped:
            self._append(_dropped(self._dropped, now))
            self._dropped = 0
        self._append(_record(command, now))
        return Done()


def _record(command: Audited | Noticed, now: int) -> Record:
    if isinstance(command, Audited):
        return Audit(time_ns=now, call=command.call)
    refused = command.name == "tls.refused"
    return Notice(time_ns=now, name=command.name, severity="warn" if refused else "info", text=command.text)


def _dropped(count: int, now: int) -> Notice:
    text = f"{count} records of calls were dropped: there were too many"
    attributes: dict[str, str | int | float | bool] = {"count": count}
    return Notice(time_ns=now, name="audit.dropped", severity="warn", text=text, attributes=attributes)
