"""What the plane says of calls, into the journal: bounded, so that a wild plane cannot push reflexes out.

Believes nothing: lengths were checked on decoding, and a record says only that the plane says so.
"""

import time
from collections.abc import Callable
from typing import Final

from controlplane.link.frames import Audited, Done, Noticed, Refused, Result
from controlplane.link.records import Audit, Notice, Record

BURST: Final = 256
PER_S: Final = 64
"""Records, on average; each has at most some 3 KB."""
_NS: Final = 1_000_000_000


class Auditing:
    """Takes so many records a second."""

    def __init__(self, append: Callable[[Record], None]) -> None:
        self._append = append
        self._credit = float(BURST)
        self._counted_ns = 0
        self._dropped = 0

    def tell(self, command: Audited | Noticed) -> Result:
        """Journal it, or say that there were too many."""
        now = time.monotonic_ns()
        earned = (now - self._counted_ns) * PER_S / _NS
        self._credit = min(BURST, self._credit + earned)
        self._counted_ns = now
        if self._credit < 1:
            self._dropped += 1
            return Refused("busy", "too many calls to journal", "try again in a second")
        self._credit -= 1
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
