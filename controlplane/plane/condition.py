"""What serves and what does not, gathered from the arc and from the parts of the plane.

The rules are here and, for people, in docs/operations.md. How they are served is for `api.health`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from controlplane.link.frames import Ping
from controlplane.plane.api.health import Health
from controlplane.plane.arc import Arc, ArcUnavailableError
from controlplane.plane.arc import Health as ArcHealth

AFFECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "journal": ("plane", "export"),
    "collector": ("export",),
    "certificates": ("management",),
}
"""What does not serve while a part of the plane has trouble. What is not on the disk is not exported."""

SILENT_S: Final = 0.5
"""After which an arc that does not answer is taken to be stuck. A probe of Kubernetes waits 1 s."""
FRESH_S: Final = 0.1
"""For which an answer is good, so that a flood of questions is not one for the arc."""

log = logging.getLogger(__name__)


class Condition:
    """Of one daemon. Without a collector to export to, `export` has nothing to do and serves."""

    def __init__(self, arc: Arc, *, exporting: bool, tls: bool = False) -> None:
        """`tls`: whether management is served over TLS, and can be in trouble."""
        self.health = Health(self._look)
        self.serving: dict[str, bool] = {}
        self._troubles: dict[str, str] = {}
        self._exporting = exporting
        self._arc = arc
        self._silent = False
        self._heard_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._components = ("plane", "export", "management") if tls else ("plane", "export")
        self._update(self._own())
        arc.on_health(self._on_arc)

    def heard(self, *, answered: bool) -> None:
        """Somebody asked the arc something, and it answered in time or not."""
        self._heard_s = time.monotonic() if answered else 0.0
        if self._silent == answered:
            self._silent = not answered
            log.warning("the arc %s", "answers again" if answered else "does not answer")
            self._on_arc(self._arc.health)

    async def _look(self) -> None:
        """Whoever asks how the arc fares makes it be asked, all that ask at once together."""
        if time.monotonic() - self._heard_s < FRESH_S:
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        if not self._silent:
            await asyncio.wait({asking}, timeout=SILENT_S)
            if not asking.done():
                self.heard(answered=False)

    async def _ask(self) -> None:
        # Unavailable is the link, too, when others ask too much: that says nothing of the arc.
        with suppress(ArcUnavailableError):
            await self._arc.ask(lambda number: Ping(id=number))
            self.heard(answered=True)
        self._asking = None

    def _on_arc(self, health: ArcHealth) -> None:
        """The arc said how its components fare."""
        said = {name: serving for name, (serving, _) in health.items()}
        if "arc" in said:
            said["arc"] = said["arc"] and not self._silent
        self._update(said)

    def trouble(self, source: str) -> Callable[[str], None]:
        """Where one part, a key of AFFECTED, says why it cannot do its work, or with nothing that it can."""

        def tell(reason: str) -> None:
            before = self._troubles.get(source, "")
            self._troubles[source] = reason
            if bool(before) != bool(reason):
                log.warning("%s: %s", source, reason or "well again")
                self._update(self._own())

        return tell

    def _own(self) -> dict[str, bool]:
        troubled = {name for source, reason in self._troubles.items() if reason for name in AFFECTED[source]}
        if not self._exporting:
            troubled.discard("export")
        return {name: name not in troubled for name in self._components}

    def _update(self, components: Mapping[str, bool]) -> None:
        self.serving |= components
        self.health.update(components)
