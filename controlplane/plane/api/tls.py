"""The certificates a port serves with: read, judged as a whole, handed to gRPC, and renewed while it runs.

Owns the material of one port. Who its clients are is for `identities`; when files change, for `watching`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from controlplane.plane.api.certificates import now_utc
from controlplane.plane.tls import TlsError

MAX_FILE: Final = 1024 * 1024
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


class Files(NamedTuple):
    """Where the parts are, in PEM. `crl` may be empty."""

    cert: str
    key: str
    ca: str
    crl: str = ""

    def paths(self) -> list[Path]:
        """Those that are given."""
        return [Path(path) for path in self if path]


class Material(NamedTuple):
    """Parts that were found to fit together."""

    configuration: grpc.ServerCertificateConfiguration
    revoked: frozenset[tuple[bytes, int]]
    certificate: x509.Certificate
    fingerprint: bytes
    """Of all files together."""

    def __str__(self) -> str:
        """The daemon's certificate in a few words."""
        mine = self.certificate
        return f"serial {mine.serial_number:x}, valid until {mine.not_valid_after_utc:%Y-%m-%d %H:%M:%S}Z"


class Credentials:
    """What one port serves with now. `renew` is called in the event loop, `_fetch` by gRPC's threads."""

    def __init__(self, files: Files) -> None:
        """Raises TlsError."""
        self.files = files
        self.material = load(files, now_utc())
        self._given = self.material

    def renew(self) -> bool:
        """Read the files again; True when they are others. Raises TlsError, and keeps what was good."""
        found = load(self.files, now_utc())
        if found.fingerprint == self.material.fingerprint:
            return False
        self.material = found
        return True

    def for_grpc(self) -> grpc.ServerCredentials:
        """For one port: gRPC asks for what is new at each connection. A client must show a certificate."""
        fetch: Any = self._fetch  # None for what is known already, which the stubs leave out
        return grpc.dynamic_ssl_server_credentials(
            self._given.configuration, fetch, require_client_authentication=True
        )

    def revoked(self) -> frozenset[tuple[bytes, int]]:
        """Issuer and serial number of certificates that count no more."""
        return self.material.revoked

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        # No file is read here: one connection waits for the other.
        material = self.material
        if material is self._given:
            return None
        self._given = material
        return material.configuration


def load(files: Files, now: datetime) -> Material:
    """Everything, as far as it fits together and counts now. Raises TlsError."""
    chain_pem, key_pem, ca_pem = (_read(path) for path in files[:3])
    crl_pem = _read(files.crl) if files.crl else b""
    certificate = _certificates(chain_pem, files.cert)[0]
    _check_key(certificate, key_pem, files)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise TlsError(f"{files.cert} does not count now: {_validity(certificate)}", "renew it")
    authorities = _certificates(ca_pem, files.ca)
    revoked = frozenset(_revoked(crl_pem, files.crl, authorities, now)) if files.crl else frozenset()
    configuration = grpc.ssl_server_certificate_configuration([(key_pem, chain_pem)], ca_pem)
    fingerprint = sha256(b"\0".join((chain_pem, key_pem, ca_pem, crl_pem))).digest()
    return Material(configuration, revoked, certificate, fingerprint)


def _check_key(certificate: x509.Certificate, pem: bytes, files: Files) -> None:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{files.key} is no private key: {error}", "in PEM, and not encrypted") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TlsError(f"{files.key} is of a kind gRPC cannot serve with", "use P-256, or RSA")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise TlsError(f"{files.key} is not the key of {files.cert}", "replace both")


def _certificates(pem: bytes, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TlsError(f"{path} holds no certificate: {error}", "in PEM") from None


def _revoked(
    pem: bytes, path: str, authorities: list[x509.Certificate], now: datetime
) -> Iterator[tuple[bytes, int]]:
    blocks = _CRL.findall(pem)
    if not blocks:
        raise TlsError(f"{path} holds no list of revoked certificates", "in PEM, or leave crl out")
    for block in blocks:
        try:
            found = x509.load_pem_x509_crl(block)
        except ValueError as error:
            raise TlsError(f"{path} cannot be read: {error}") from None
        if not any(_signed(found, authority) for authority in authorities):
            raise TlsError(f"{path} is of no CA of ours: {found.issuer.rfc4514_string()}")
        if found.next_update_utc is not None and found.next_update_utc < now:
            raise TlsError(
                f"{path} should have been replaced by {found.next_update_utc:%Y-%m-%d}", "fetch it"
            )
        issuer = found.issuer.public_bytes()
        yield from ((issuer, entry.serial_number) for entry in found)


def _signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    if found.issuer != authority.subject or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return False
    try:
        return found.is_signature_valid(key)
    except InvalidSignature:
        return False


def _validity(certificate: x509.Certificate) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"it is valid from {begins:%Y-%m-%d %H:%M:%S}Z to {ends:%Y-%m-%d %H:%M:%S}Z"


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        hint = "the daemon's unprivileged process must be able to read it: give it to that account, mode 0600"
        raise TlsError(f"{path} cannot be read: {error.strerror}", hint) from None
