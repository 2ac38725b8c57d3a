"""Who called: told to the arc, which journals it, so that it outlives this process and reaches the logs.

Before anything is changed the journal has it: no record, no change. Refused calls are told as far as there is
room, and counted beyond it.
"""

import asyncio
from typing import Final

from msgspec.structs import replace

from controlplane.link.frames import Audited, Done
from controlplane.link.records import Call
from controlplane.plane.arc import Arc

BURST: Final = 64
PER_S: Final = 8
"""Refused calls told, on average; of the others every second the last, with their number."""
WINDOW_S: Final = 1.0


class Audit:
    """The way of calls into the journal. Belongs to the running event loop."""

    def __init__(self, arc: Arc) -> None:
        self._arc = arc
        self._loop = asyncio.get_running_loop()
        self._credit = float(BURST)
        self._counted = self._loop.time()
        self._waiting: Call | None = None
        """The last refused call for which there was no room, with the number of them."""
        self._telling: asyncio.TimerHandle | None = None

    async def begin(self, call: Call) -> None:
        """Returns once the journal has it. Raises ArcUnavailableError or ArcRefusedError: change nothing."""
        await self._arc.ask_for(Done, lambda number: Audited(id=number, call=call))

    def end(self, call: Call) -> None:
        """How a call that had begun went."""
        self._tell(call)

    def refused(self, call: Call) -> None:
        """A call that was not let in; often repeated, only some are told."""
        now = self._loop.time()
        self._credit = min(BURST, self._credit + (now - self._counted) * PER_S)
        self._counted = now
        if self._credit >= 1 and self._waiting is None:
            self._credit -= 1
            self._tell(call)
            return
        before = self._waiting.count if self._waiting else 0
        self._waiting = replace(call, count=before + call.count)
        if self._telling is None:
            self._telling = self._loop.call_later(WINDOW_S, self._flush)

    def close(self) -> None:
        """Tell what waits; nothing more will come."""
        if self._telling is not None:
            self._telling.cancel()
            self._flush()

    def _flush(self) -> None:
        self._telling = None
        if self._waiting is not None:
            self._tell(self._waiting)
            self._waiting = None

    def _tell(self, call: Call) -> None:
        self._arc.tell(lambda number: Audited(id=number, call=call))
