"""The certificates of a port over time: when files change the good ones are taken, or those before are kept.

Nothing restarts: new connections get what is good, and those there are come to their end by age. Where there
was nothing good from the start, the port waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from controlplane.link.frames import Noticed
from controlplane.plane.api.summary import MAX_SUMMARY, shortened
from controlplane.plane.api.tls import Credentials, Files
from controlplane.plane.arc import Arc
from controlplane.plane.tls import TlsError

log = logging.getLogger(__name__)


class Rotation:
    """Of the certificates of one port."""

    def __init__(self, files: Files, arc: Arc, trouble: Callable[[str], None]) -> None:
        """`trouble` hears why the files are no good, or with nothing that they are."""
        self.files = files
        self._arc = arc
        self._trouble = trouble
        self._refused = ""
        self._credentials: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()

    async def credentials(self) -> Credentials:
        """What to serve with, as soon as there is something good."""
        return await asyncio.shield(self._credentials)

    def changed(self) -> None:
        """The files may be others now."""
        try:
            renewed = self._renew()
        except TlsError as error:
            self._keep(f"{error} ({error.hint})" if error.hint else str(error))
            return
        self._refused = ""
        self._trouble("")
        if renewed:
            self._tell("tls.rotated", f"serving with {self._credentials.result().material}")

    def _renew(self) -> bool:
        if self._credentials.done():
            return self._credentials.result().renew()
        self._credentials.set_result(Credentials(self.files))
        return True

    def _keep(self, why: str) -> None:
        """Told once, however often the same is found."""
        if why != self._refused:
            self._refused = why
            self._trouble(why)
            kept = (
                "what was there before is kept" if self._credentials.done() else "the port waits for better"
            )
            self._tell("tls.refused", f"{why}; {kept}")

    def _tell(self, name: Literal["tls.rotated", "tls.refused"], text: str) -> None:
        log.info("%s: %s", name, text)
        self._arc.tell(lambda number: Noticed(id=number, name=name, text=shortened(text, MAX_SUMMARY)))
