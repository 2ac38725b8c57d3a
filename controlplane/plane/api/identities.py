"""Who calls: by the door that was taken, and over TLS by the certificate that was shown.

Deny by default: whoever is not named in the configuration has no role. What a role opens is the front door's
business.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import grpc

from controlplane.link.config import Identity
from controlplane.plane.api.certificates import CertificateError, Revoked, check, now_utc, shown_by
from controlplane.wire.methods import Role

Context = grpc.aio.ServicerContext[Any, Any]
TLS: Final = (b"ssl", b"tls")
"""What gRPC calls TLS now, and what it is to call it."""
TLS_1_3: Final = b"TLSv1.3"


class Caller(NamedTuple):
    """Who calls, and what that one is trusted with."""

    identity: str
    role: Role | None
    """None: nothing."""


class StrangerError(Exception):
    """Nobody this door lets in; the message is for the caller."""

    def __init__(self, message: str, identity: str = "") -> None:
        super().__init__(message)
        self.identity = identity
        """Who that is, where a certificate says it that does not count."""


Identify = Callable[[Context], Caller]
"""Raises StrangerError."""


def by_socket(role: Role) -> Identify:
    """On a UNIX socket everybody has its role: the file system decided who may connect.

    Both signs are needed: TCP with local credentials says `local`, too, a socket without them `unix:`.
    """

    def identify(context: Context) -> Caller:
        shown = context.auth_context()
        if _one(shown, "transport_security_type") == b"local" and context.peer().startswith("unix"):
            return Caller(f"unix:{role.name.lower()}", role)
        raise StrangerError("this is for the UNIX socket alone")

    return identify


def by_certificate(
    roles: Mapping[str, Role], revoked: Callable[[], Revoked], now: Callable[[], datetime] = now_utc
) -> Identify:
    """Over TLS 1.3 the certificate says who calls; `roles` is what its names are trusted with."""

    def identify(context: Context) -> Caller:
        found = context.auth_context()
        if _one(found, "transport_security_type") not in TLS or _one(found, "ssl_tls_version") != TLS_1_3:
            raise StrangerError("this is for TLS 1.3 alone")
        try:
            shown = shown_by(_one(found, "x509_pem_cert"))
        except CertificateError as error:
            raise StrangerError(str(error)) from None
        names = shown.names or ("nameless",)
        try:
            check(shown, revoked(), now())
        except CertificateError as error:
            raise StrangerError(str(error), names[0]) from None
        known = next((name for name in names if name in roles), names[0])
        return Caller(known, roles.get(known))

    return identify


def table(identities: Sequence[Identity]) -> dict[str, Role]:
    """Role by name as `certificates` gives it."""
    return {_key(identity): Role[identity.role.upper()] for identity in identities}


def _key(identity: Identity) -> str:
    if identity.spiffe:
        return identity.spiffe
    return f"dns:{identity.dns}" if identity.dns else f"subject:{identity.subject}"


def _one(found: Mapping[str, Iterable[bytes]], key: str) -> bytes:
    values = tuple(found.get(key, ()))
    return bytes(values[0]) if len(values) == 1 else b""
