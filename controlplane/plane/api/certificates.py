"""What a client's certificate says, and whether it counts at this moment. Pure.

gRPC checks chain and times in a full handshake only, a resumed session carries its certificate along: so
this is asked for every call. What a name is trusted with is for `identities`.
"""

from collections.abc import Container
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

REMEMBERED: Final = 256
"""Certificates that need not be parsed again."""

Revoked = Container[tuple[bytes, int]]
"""Issuer, as DER, and serial number of certificates that count no more."""


class CertificateError(ValueError):
    """The certificate does not count; the message is for who shows it, and for the journal."""


class Shown(NamedTuple):
    """What a certificate says."""

    names: tuple[str, ...]
    """`spiffe://...`, `dns:...`, `subject:...`, in the order in which they are looked up."""
    not_before: datetime
    not_after: datetime
    issuer: bytes
    serial: int
    is_client: bool
    """Its key may be used to sign, and to show who a client is."""


def check(shown: Shown, revoked: Revoked, now: datetime) -> None:
    """Raises CertificateError where the certificate does not count now."""
    if now < shown.not_before:
        raise CertificateError(f"the certificate is not valid before {shown.not_before:%Y-%m-%d %H:%M:%S}Z")
    if now > shown.not_after:
        raise CertificateError(f"the certificate has expired at {shown.not_after:%Y-%m-%d %H:%M:%S}Z")
    if (shown.issuer, shown.serial) in revoked:
        raise CertificateError("the certificate is revoked")
    if not shown.is_client:
        raise CertificateError("the certificate is not for clients: it needs the key usage clientAuth")


@lru_cache(REMEMBERED)
def shown_by(pem: bytes) -> Shown:
    """From PEM. Raises CertificateError where it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extensions = certificate.extensions
        return Shown(
            names=tuple(_names(certificate)),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            issuer=certificate.issuer.public_bytes(),
            serial=certificate.serial_number,
            is_client=_is_client(extensions),
        )
    except ValueError as error:
        raise CertificateError(f"the certificate cannot be read: {error}") from None


def now_utc() -> datetime:
    """The time certificates are measured by."""
    return datetime.now(UTC)


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    """Its alternative names; none where it has none."""
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return extension.value
    return x509.SubjectAlternativeName(())


def _names(certificate: x509.Certificate) -> list[str]:
    """The SPIFFE id counts only as the one URI there is (X.509-SVID, section 2)."""
    alternative = names_of(certificate)
    uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
    spiffe = [uri for uri in uris if uri.startswith("spiffe://")] if len(uris) == 1 else []
    dns = [f"dns:{name.lower()}" for name in alternative.get_values_for_type(x509.DNSName)]
    subject = certificate.subject.rfc4514_string()
    return [*spiffe, *dns, *([f"subject:{subject}"] if subject else [])]


def _is_client(extensions: x509.Extensions) -> bool:
    signs, authenticates = True, False
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage):
            signs = extension.value.digital_signature
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            authenticates = ExtendedKeyUsageOID.CLIENT_AUTH in extension.value
    return signs and authenticates
