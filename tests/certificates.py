"""Certificates for tests: an authority, and what it signs for servers and clients, as PEM files."""

import datetime as dt
import ipaddress
import itertools
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.link.config import Tls

DAY = dt.timedelta(days=1)
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Pair:
    """The files of one certificate."""

    cert: str
    key: str


class Authority:
    """Signs what it is asked to. Its files lie in `folder`, readable by everybody."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(name)
        certificate = self._begin(self._name, self._key, DAY).issuer_name(self._name)
        certificate = certificate.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.ca = self._write("ca", certificate.sign(self._key, hashes.SHA256()).public_bytes(PEM))

    def server(self) -> Pair:
        """For 127.0.0.1, ::1 and localhost."""
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        return self._issue("server", ExtendedKeyUsageOID.SERVER_AUTH, DAY, names)

    def client(self, *, valid: dt.timedelta = DAY) -> Pair:
        """Valid until then; it has been since yesterday."""
        return self._issue("client", ExtendedKeyUsageOID.CLIENT_AUTH, valid, [x509.DNSName("client")])

    def files(self) -> Tls:
        """Of a server that lets in clients of this authority."""
        server = self.server()
        return Tls(cert=server.cert, key=server.key, client_ca=self.ca)

    def _issue(
        self, name: str, use: x509.ObjectIdentifier, valid: dt.timedelta, names: list[x509.GeneralName]
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._begin(named(name), key, valid).issuer_name(self._name)
        certificate = certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = certificate.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        signed = certificate.sign(self._key, hashes.SHA256()).public_bytes(PEM)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Pair(self._write(f"{name}-cert", signed), self._write(f"{name}-key", private))

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid: dt.timedelta
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + valid)
        )

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / f"{name}-{next(NUMBERS)}.pem"
        path.write_bytes(data)
        path.chmod(0o644)
        return str(path)


PEM = serialization.Encoding.PEM


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
