"""Management over TLS: the port, from good certificates on, for as long as the plane runs.

What is wrong here is told, and keeps nothing else from serving.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from controlplane.link.config import Management
from controlplane.link.records import Call
from controlplane.plane.api.certified import by_certificate, table
from controlplane.plane.api.handshakes import failed_handshakes
from controlplane.plane.api.probe import OldTlsError, require_tls_1_3
from controlplane.plane.api.rotation import Rotation
from controlplane.plane.api.server import Served, aging, management_server, running
from controlplane.plane.api.summary import shortened
from controlplane.plane.api.tls import Credentials, Files
from controlplane.plane.arc import Arc
from controlplane.plane.watching import watching

log = logging.getLogger(__name__)


async def keep_serving(
    given: Management, arc: Arc, served: Served, core_log: int, trouble: Callable[[str], None]
) -> None:
    """Until cancelled. `trouble` hears what is wrong, or with nothing that all is well."""

    def failed(reason: str) -> None:
        served.audit.refused(Call(outcome="refused", detail=shortened(f"TLS handshake: {reason}")))

    rotation = Rotation(Files(given.cert, given.key, given.client_ca, given.crl), arc, trouble)
    try:
        with watching(rotation.files.paths(), rotation.changed):
            rotation.changed()
            credentials = await rotation.credentials()
            await require_tls_1_3(credentials.for_grpc())
            with failed_handshakes(core_log, failed):
                async with serve_tls(given, credentials, served) as port:
                    log.info("management on port %d", port)
                    await asyncio.Event().wait()
    except (OSError, OldTlsError) as error:
        log.error("management over TLS: %s", error)  # noqa: TRY400  # its text says all
        trouble(str(error))


@asynccontextmanager
async def serve_tls(given: Management, credentials: Credentials, served: Served) -> AsyncIterator[int]:
    """Serves management over TLS while the block lasts; gives the port. Raises OSError."""
    identify = by_certificate(table(given.identities), credentials.revoked)
    server = management_server(served, identify, aging(given.connection_age_s))
    port = server.listen(given.address, credentials.for_grpc())
    async with running(server, served.let_go):
        yield port
