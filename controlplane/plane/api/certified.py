"""Who calls over TLS: by the certificate that is shown, and the table of the configuration.

Deny by default: whoever is not named there has no role.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from controlplane.link.config import Identity
from controlplane.plane.api.certificates import CertificateError, Revoked, check, now_utc, shown_by
from controlplane.plane.api.identities import Caller, Context, Identify, StrangerError, one
from controlplane.wire.methods import Role

TLS: Final = (b"ssl", b"tls")
"""What gRPC calls TLS now, and what it is to call it."""
TLS_1_3: Final = b"TLSv1.3"


def by_certificate(
    roles: Mapping[str, Role], revoked: Callable[[], Revoked], now: Callable[[], datetime] = now_utc
) -> Identify:
    """Over TLS 1.3 the certificate says who calls; `roles` is what its names are trusted with."""

    def identify(context: Context) -> Caller:
        found = context.auth_context()
        if one(found, "transport_security_type") not in TLS or one(found, "ssl_tls_version") != TLS_1_3:
            raise StrangerError("this is for TLS 1.3 alone")
        try:
            shown = shown_by(one(found, "x509_pem_cert"))
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
