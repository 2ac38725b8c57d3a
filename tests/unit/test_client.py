"""The client's own part: where it connects, over TLS as well, and how failures look to a script."""

import datetime as dt
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.client import Client, ConnectError, Target
from controlplane.plane.api import management
from controlplane.plane.api.aio_server import LIMITS, AioServer
from controlplane.plane.api.management import Management
from controlplane.wire.methods import MANAGEMENT
from tests.unit.plane.loop import LoopThread
from tests.unit.plane.served import served

PEM = serialization.Encoding.PEM


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


class Authority:
    """Signs certificates for the time of a test."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self._name, self._key, ca=True).public_bytes(PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(self._sign(subject, key, ca=False).public_bytes(PEM))
        private = (PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files[1].write_bytes(key.private_bytes(*private))
        return files

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        local = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(local, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


@contextmanager
def over_tls(loop: LoopThread, folder: Path, authority: Authority) -> Iterator[str]:
    certificate, key = (file.read_bytes() for file in authority.issue("server"))
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], authority.file.read_bytes(), require_client_auth=True
    )
    with served(loop, folder) as plane:

        @asynccontextmanager
        async def serve() -> AsyncIterator[int]:
            server = AioServer([], LIMITS)
            server.register(MANAGEMENT.full_name, management.handlers(Management(plane.arc, plane.story)))
            port = server.listen("127.0.0.1:0", credentials)
            await server.start()
            yield port
            await server.stop()

        with loop.entered(serve) as port:
            yield f"127.0.0.1:{port}"


def test_mutual_tls(loop: LoopThread, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    cert, key = authority.issue("client")
    with over_tls(loop, tmp_path, authority) as address:
        target = Target(address=address, ca=str(authority.file), cert=str(cert), key=str(key))
        with Client(target) as client:
            assert client.status().pid == 42


def test_a_certificate_of_somebody_else_reaches_nobody(loop: LoopThread, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    cert, key = stranger.issue("client")
    with over_tls(loop, tmp_path, authority) as address:
        target = Target(address=address, ca=str(authority.file), cert=str(cert), key=str(key))
        with Client(target) as client, pytest.raises(ConnectError, match=address):
            client.status()


def test_a_socket_nobody_listens_on(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Client(Target(socket=str(path))) as client, pytest.raises(ConnectError, match="Connection refused"):
        client.status()


def test_a_daemon_that_takes_the_call_and_never_answers(tmp_path: Path) -> None:
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with Client(Target(socket=str(path)), timeout_s=0.2) as client, pytest.raises(ConnectError):
            client.status()


def test_a_missing_certificate_is_an_error_of_the_file(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="none"):
        Client(Target(address="127.0.0.1:1", ca=nowhere, cert=nowhere, key=nowhere))
