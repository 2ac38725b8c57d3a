"""What is served with: files that fit together, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from controlplane.plane.api.tls import Credentials, Files, load
from controlplane.plane.tls import TlsError
from tests.authority import HOUR, Authority, Shown, replace


@pytest.fixture(scope="module")
def ours() -> Authority:
    return Authority()


@pytest.fixture
def files(ours: Authority, tmp_path: Path) -> Files:
    ours.issue("node", "server").write(tmp_path / "tls")
    replace(tmp_path / "ca.crt", ours.pem)
    replace(tmp_path / "crl.pem", ours.revoking())
    return Files(*(str(tmp_path / name) for name in ("tls.crt", "tls.key", "ca.crt", "crl.pem")))


def ed25519_key(_: Authority) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted(ours: Authority) -> bytes:
    key = ours.issue("node", "server").pair.key
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


Make = Callable[[Authority], bytes]
BAD: dict[str, tuple[str, Make, str]] = {
    "no certificate": ("tls.crt", lambda _: b"junk", "holds no certificate"),
    "expired": ("tls.crt", lambda o: o.issue("n", "server", since=-2 * HOUR).certificate, "is not the key"),
    "no key": ("tls.key", lambda _: b"junk", "is no private key"),
    "encrypted key": ("tls.key", encrypted, "is no private key"),
    "Ed25519": ("tls.key", ed25519_key, "is of a kind gRPC cannot serve with"),
    "another's key": ("tls.key", lambda o: o.issue("n", "server").key, "is not the key of"),
    "no CA": ("ca.crt", lambda _: b"", "holds no certificate"),
    "no list": ("crl.pem", lambda _: b"junk", "holds no list of revoked"),
    "another's list": ("crl.pem", lambda _: Authority("other").revoking(), "is of no CA of ours"),
    "old list": ("crl.pem", lambda o: o.revoking(until=-HOUR), "should have been replaced by"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(files: Files, ours: Authority, tmp_path: Path, name: str) -> None:
    file, make, said = BAD[name]
    replace(tmp_path / file, make(ours))
    with pytest.raises(TlsError, match=said) as caught:
        load(files, datetime.now(UTC))
    assert file in str(caught.value)


def test_a_certificate_counts_for_its_time(files: Files) -> None:
    for when in (-3 * HOUR, 3 * HOUR):
        with pytest.raises(TlsError, match="does not count now: it is valid from"):
            load(files, datetime.now(UTC) + when)


def test_a_file_that_is_not_there(files: Files, tmp_path: Path) -> None:
    (tmp_path / "tls.key").unlink()
    with pytest.raises(TlsError, match="cannot be read: No such file") as caught:
        load(files, datetime.now(UTC))
    assert "mode 0600" in caught.value.hint


def test_revoked_certificates_are_known_by_issuer_and_number(
    files: Files, ours: Authority, tmp_path: Path
) -> None:
    gone: list[Shown] = [ours.issue("gone"), ours.issue("lost")]
    replace(tmp_path / "crl.pem", ours.revoking(gone[0]) + ours.revoking(gone[1]))
    found = load(files, datetime.now(UTC)).revoked
    issuer = gone[0].pair.certificate.issuer.public_bytes()
    assert found == {(issuer, each.pair.certificate.serial_number) for each in gone}


def test_renewed_only_when_something_is_new(files: Files, ours: Authority, tmp_path: Path) -> None:
    credentials = Credentials(files)
    assert not credentials.renew()
    assert credentials._fetch() is None
    fresh = ours.issue("node", "server")
    fresh.write(tmp_path / "tls")
    assert credentials.renew()
    assert credentials.material.certificate == fresh.pair.certificate
    assert credentials._fetch() is credentials.material.configuration
    assert credentials._fetch() is None


def test_what_was_good_is_kept(files: Files, tmp_path: Path) -> None:
    credentials = Credentials(files)
    good = credentials.material
    replace(tmp_path / "tls.key", b"junk")
    with pytest.raises(TlsError):
        credentials.renew()
    assert credentials.material is good
    assert credentials._fetch() is None
