"""A CA, and what it signs. Pure: keys and certificates, no files, and the time is an argument."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW: Final = timedelta(minutes=5)
"""Clocks that are this late still take what has just been made."""
Kind = Literal["server", "client"]


class PkiError(ValueError):
    """It cannot be made; `hint` says what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Wanted(NamedTuple):
    """What a certificate is to say."""

    kind: Kind
    name: str
    """Common name of its subject."""
    lifetime: timedelta
    spiffe: str = ""
    dns: Sequence[str] = ()
    addresses: Sequence[str] = ()


def authority(name: str, trust_domain: str, now: datetime, lifetime: timedelta) -> Pair:
    """A CA of its own that signs certificates and no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_alternative(f"spiffe://{trust_domain}", (), ()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issued(wanted: Wanted, ca: Pair, now: datetime) -> Pair:
    """A server's or a client's certificate. Raises PkiError where it would outlive its CA."""
    ends = ca.certificate.not_valid_after_utc
    if now + wanted.lifetime > ends:
        raise PkiError(f"it would outlive its CA, which ends at {ends:%Y-%m-%d}", "ask for fewer --days")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.name)])
    use = ExtendedKeyUsageOID.SERVER_AUTH if wanted.kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(subject, ca.certificate.subject, key, now, wanted.lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(_alternative(wanted.spiffe, wanted.dns, wanted.addresses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
        )
    )
    return Pair(builder.sign(ca.key, hashes.SHA256()), key)


def wanted_again(certificate: x509.Certificate) -> Wanted:
    """What would be an equal certificate, for as long. Raises PkiError for one that is not of this kind."""
    try:
        (kind,) = uses(certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (x509.ExtensionNotFound, ValueError):
        raise PkiError("`reflexarc pki issue` has not made it", "renew it where it was made") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return Wanted(
        kind="server" if kind == "server" else "client",
        name=str(name.value),
        lifetime=certificate.not_valid_after_utc - certificate.not_valid_before_utc - SKEW,
        spiffe=uris[0] if uris else "",
        dns=names.get_values_for_type(x509.DNSName),
        addresses=[str(address) for address in names.get_values_for_type(x509.IPAddress)],
    )


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """URIs, then DNS names, then addresses; empty where it has none."""
    for extension in certificate.extensions:
        names = extension.value
        if isinstance(names, x509.SubjectAlternativeName):
            kinds = (x509.UniformResourceIdentifier, x509.DNSName, x509.IPAddress)
            return [str(name) for kind in kinds for name in names.get_values_for_type(kind)]
    return []


def uses(certificate: x509.Certificate) -> list[str]:
    """What its key may be used for: `ca`, `server`, `client`."""
    known = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}
    found = []
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            found.append("ca")
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            found += [known[use] for use in extension.value if use in known]
    return found


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(spiffe: str, dns: Sequence[str], addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName(
            [
                *([x509.UniformResourceIdentifier(spiffe)] if spiffe else []),
                *(x509.DNSName(name) for name in dns),
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
            ]
        )
    except ValueError as error:
        raise PkiError(f"not a name for a certificate: {error}") from None
