"""TLS of a port that asyncio serves: TLS 1.3 alone, a client certificate always.

Reads the files of one setting. Serves nothing, and knows nothing of gRPC, which has a TLS of its own.
"""

import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from controlplane.link.config import Tls

log = logging.getLogger(__name__)


class TlsError(Exception):
    """The files cannot be used; `hint` says what to change."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class _Stamp(NamedTuple):
    """What changes with a file, or with the file that a link leads to."""

    inode: int
    size: int
    changed_ns: int


def context_of(files: Tls) -> ssl.SSLContext:
    """A server's context. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # A ticket would let a client in again after its certificate has expired.
    context.num_tickets = 0
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (OSError, _EncryptedKeyError) as error:
        message = f"{files.cert} and {files.key} cannot be used: {_reason(error)}"
        raise TlsError(message, "they must be PEM, belong together and be readable by the plane") from None
    try:
        context.load_verify_locations(files.client_ca)
    except OSError as error:
        message = f"{files.client_ca} cannot be used: {_reason(error)}"
        raise TlsError(message, "it must hold PEM certificates and be readable by the plane") from None
    return context


class Context:
    """The context of a port, made anew when a file has changed: looked at when it is wanted, not before."""

    def __init__(self, files: Tls) -> None:
        """Raises TlsError."""
        self._files = files
        self._stamps = self._look()
        self._context = context_of(files)

    def current(self) -> ssl.SSLContext:
        """Of the files as they are now; files that cannot be used leave the last good ones in force."""
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._context = context_of(self._files)
            except TlsError as error:
                log.warning("%s; the certificates from before stay in force", error)
        return self._context

    def _look(self) -> tuple[_Stamp | None, ...]:
        return tuple(_stamp(name) for name in (self._files.cert, self._files.key, self._files.client_ca))


def _stamp(name: str) -> _Stamp | None:
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)


class _EncryptedKeyError(Exception):
    """Nobody is there to type a password."""


def _no_password() -> str:
    raise _EncryptedKeyError("the key is encrypted")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
