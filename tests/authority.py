"""Certificates for tests, good ones and others: a CA, what it signs, what it revokes."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controlplane.pki.certificates import Kind, Pair, Wanted, authority, issued
from controlplane.pki.store import key_pem_of, pem_of

DOMAIN = "example.org"
HOST = "node.example.org"
HOUR = timedelta(hours=1)
NOW = timedelta()


class Shown(NamedTuple):
    """A certificate and its key in PEM."""

    pair: Pair
    certificate: bytes
    key: bytes

    def write(self, stem: Path) -> tuple[Path, Path]:
        """Into `stem`.crt and `stem`.key, each replaced as a whole."""
        paths = stem.with_suffix(".crt"), stem.with_suffix(".key")
        for path, contents in zip(paths, (self.certificate, self.key), strict=True):
            replace(path, contents)
        return paths


class Authority:
    """One CA."""

    def __init__(self, name: str = "tests") -> None:
        self._pair = authority(name, DOMAIN, datetime.now(UTC) - 100 * HOUR, 1000 * HOUR)
        self.pem = pem_of(self._pair.certificate)

    def issue(
        self,
        name: str,
        kind: Kind = "client",
        *,
        since: timedelta = NOW,
        lifetime: timedelta = HOUR,
        rsa_key: bool = False,
    ) -> Shown:
        """A certificate made `since` now, which a negative time puts into the past."""
        spiffe = f"spiffe://{DOMAIN}/{name}" if kind == "client" else ""
        dns, addresses = ((HOST, "localhost"), ("127.0.0.1", "::1")) if kind == "server" else ((), ())
        wanted = Wanted(kind, name, lifetime, spiffe, dns, addresses)
        pair = issued(wanted, self._pair, datetime.now(UTC) + since)
        if rsa_key:
            return self._with_rsa(pair)
        return Shown(pair, pem_of(pair.certificate), key_pem_of(pair.key))

    def _with_rsa(self, pair: Pair) -> Shown:
        """The same with a key that `reflexarc pki` does not make."""
        key = rsa.generate_private_key(65537, 2048)
        old = pair.certificate
        builder = x509.CertificateBuilder(
            old.issuer,
            old.subject,
            key.public_key(),
            old.serial_number,
            old.not_valid_before_utc,
            old.not_valid_after_utc,
            [each for each in old.extensions if not isinstance(each.value, x509.SubjectKeyIdentifier)],
        )
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Shown(pair, pem_of(builder.sign(self._pair.key, hashes.SHA256())), key.private_bytes(*form))

    def revoking(self, *revoked: Shown, until: timedelta = HOUR) -> bytes:
        """A list of revoked certificates."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._pair.certificate.subject)
            .last_update(now - 2 * HOUR)
            .next_update(now + until)
        )
        for shown in revoked:
            serial = shown.pair.certificate.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR).build()
            builder = builder.add_revoked_certificate(entry)
        return pem_of_list(builder.sign(self._pair.key, hashes.SHA256()))


def pem_of_list(found: x509.CertificateRevocationList) -> bytes:
    """As it is written."""
    return found.public_bytes(Encoding.PEM)


def replace(path: Path, contents: bytes) -> None:
    """At no moment is there half a file. It belongs to whom its folder belongs to."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(contents)
    fresh.chmod(0o600)
    owner = path.parent.stat()
    if fresh.stat().st_uid != owner.st_uid:
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.rename(path)
